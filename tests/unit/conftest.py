"""Databases for the unit tests: SQLite in memory, or PostgreSQL through PgBouncer.

With FULCRUM_CONFIG the same tests run on the servers that file names, as the application's role;
their schema is made once, as the owner, by the same command that a deployment uses.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.databases import CONFIG
from tests.variants import PYTHONPATH

PATIENCE_SECONDS = 20


def run_as_owner(*command: str) -> None:
    """Run `manage.py COMMAND` on the same databases with the owner's role, under these settings.

    These are pytest-django's --ds, in the environment: `settings` may be a test's own just now.
    """
    owner = Path(str(CONFIG)).with_name("site-owner.json")
    environment = {
        **os.environ,
        "FULCRUM_CONFIG": str(owner),
        "PYTHONPATH": PYTHONPATH,
    }
    arguments = [sys.executable, "-m", "django", *command]
    subprocess.run(arguments, env=environment, check=True, stdout=subprocess.DEVNULL)


@pytest.fixture(scope="session")
def django_db_setup(django_test_environment: None, django_db_blocker: Any) -> Iterator[None]:
    """pytest-django's own, for either engine."""
    from django.conf import settings
    from django.test.utils import setup_databases, teardown_databases

    if CONFIG:
        for alias in settings.DATABASES:
            run_as_owner("migrate", "--database", alias, "--run-syncdb")
        yield
        return
    with django_db_blocker.unblock():
        made = setup_databases(verbosity=0, interactive=False, serialized_aliases=[])
    yield
    with django_db_blocker.unblock():
        teardown_databases(made, verbosity=0)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers that answer late are there: only what a test takes away is away."""
    from routers import deadline
    from routers.health import pools, readiness
    from routers.shard_map import announce

    monkeypatch.setattr(deadline, "CONNECT_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr(readiness, "ANSWER_SECONDS", float(PATIENCE_SECONDS))
    monkeypatch.setattr(pools, "CONNECT_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr(announce, "ANSWER_SECONDS", 5.0)  # so long a frozen Redis is waited for


@pytest.fixture(autouse=True)
def shard_map() -> Any:
    """A map with even slots over the settings' shards, whatever the test before left behind."""
    from routers.conf import settings
    from routers.shard_map import ShardMap, use_map

    return use_map(ShardMap.even(sorted(settings().shards)))

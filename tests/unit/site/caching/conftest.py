"""Databases without the site's data, and a Redis of the tests' own."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.conftest import CONFIG, run_as_owner
from tests.unit.site.caching.redis_server import RedisServer

# A project of its own: the suites of the site, which has other settings, leave this folder out.
SETTINGS = "tests.unit.site.caching.settings"
collect_ignore_glob = [] if os.environ.get("DJANGO_SETTINGS_MODULE") == SETTINGS else ["*"]

PORT = int(os.environ.setdefault("CACHING_TEST_PORT", "26390"))


@pytest.fixture(scope="session")
def django_db_setup(django_test_environment: None, django_db_blocker: Any) -> Iterator[None]:
    """The tables of `shelf`, past the site's own fixture."""
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


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    if not CONFIG:
        pytest.skip("nothing is cached on SQLite")
    if not shutil.which("redis-server"):
        pytest.skip("there is no redis-server on this machine")
    directory: Path = tmp_path_factory.mktemp("redis")
    server = RedisServer(PORT, directory)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def cached(redis_server: RedisServer, db_for_real: None) -> Iterator[RedisServer]:
    """An empty Redis, in service on every database."""
    from caching import counts, service, totals, wire
    from tests.unit.site.caching.support import turn_on

    with redis_server.client as client:
        client.flushall()
    turn_on()
    wire.forget()
    service.forget()
    counts.clear()
    totals._pushed.clear()
    yield redis_server
    wire.forget()


@pytest.fixture
def db_for_real(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every database, without a transaction around the test; its rows are deleted afterwards."""
    from tests.unit.site.caching.support import delete_everything

    request.getfixturevalue("django_db_setup")
    blocker = request.getfixturevalue("django_db_blocker")
    with blocker.unblock():
        yield
        delete_everything()


@pytest.fixture
def book(cached: RedisServer) -> Iterator[Any]:
    """A book of account ONE, which is in force; it is called "old" and is in the cache."""
    from routers import account_context
    from tests.unit.site.caching.shelf.models import Book
    from tests.unit.site.caching.support import ONE, asked, title

    with account_context(ONE):
        made = Book.objects.create(title="old")
        assert title(made) == title(made) == "old"
        assert asked()["hit"] == 1
        yield made

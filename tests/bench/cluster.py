"""The cluster that is measured: the local one, with fsync on, under .cluster/bench."""

import json
import os
import subprocess
import sys
from typing import Any

import psycopg2

from tests.variants import CHECKOUT, PYTHONPATH, Variant
from tests.visitor import DEMO_EMAIL

__all__ = ["BENCH", "SHARDS", "config", "infra", "login", "manage", "superuser"]

BENCH = Variant("bench", shift=2000, fsync=True)
SHARDS = ("shard01", "shard02", "shard03", "shard04")


def infra(*arguments: str) -> None:
    """Run `python -m infra` on the bench cluster."""
    command = [sys.executable, "-m", "infra", *BENCH.options(), *arguments]
    subprocess.run(command, cwd=CHECKOUT, check=True)


def config() -> dict[str, Any]:
    """What the site reads."""
    loaded: dict[str, Any] = json.loads((BENCH.root / "site.json").read_text())
    return loaded


def secrets() -> dict[str, str]:
    """The generated passwords."""
    loaded: dict[str, str] = json.loads((BENCH.root / "secrets.json").read_text())
    return loaded


def environment() -> dict[str, str]:
    """For a process of the site's."""
    return {**os.environ, "FULCRUM_CONFIG": str(BENCH.root / "site.json"), "PYTHONPATH": PYTHONPATH}


def manage(*arguments: str) -> str:
    """Run `manage.py` as the application; returns what it printed."""
    command = [sys.executable, "manage.py", *arguments]
    done = subprocess.run(
        command, cwd=CHECKOUT / "site", env=environment(), check=True, stdout=subprocess.PIPE
    )
    return done.stdout.decode()


def owner(alias: str) -> dict[str, Any]:
    """Where a database is, directly, and the owner's login."""
    loaded = json.loads((BENCH.root / "site-owner.json").read_text())
    databases: dict[str, dict[str, Any]] = loaded["databases"]
    return databases[alias]


def superuser(alias: str, database: str | None = None) -> Any:
    """A direct connection as the superuser, in autocommit."""
    given = owner(alias)
    connection = psycopg2.connect(
        host=given["host"],
        port=given["port"],
        dbname=database or given["name"],
        user="postgres",
        password=secrets()["superuser"],
    )
    connection.autocommit = True
    return connection


def login() -> tuple[str, str]:
    """The demo login."""
    return DEMO_EMAIL, secrets()["demo_password"]

"""Databases, migrations and processes of their own, for the tests of `migrate_shards`."""

import json
import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2

from tests.variants import CHECKOUT

__all__ = ["CONFIG", "Project", "project"]

CONFIG = os.environ.get("FULCRUM_CONFIG")
SHARDS = ("shard01", "shard02", "shard03")
BASE = CHECKOUT / "tests" / "unit" / "routers" / "ledgerapp" / "migrations"
MIGRATION = """
from django.db import migrations, models
import time

class Migration(migrations.Migration):
    {attributes}
    dependencies = [("ledgerapp", "{after}")]
    operations = [{operations}]
"""


@dataclass
class Project:
    """A catalog and three shards with nothing in them, and migrations that a test adds to."""

    folder: Path
    databases: dict[str, dict[str, Any]]

    def add(self, name: str, operations: str, *, after: str = "0001_initial", **said: Any) -> None:
        """Write one more migration; `said` are attributes of its class."""
        attributes = "\n    ".join(f"{key} = {value!r}" for key, value in said.items()) or "pass"
        text = MIGRATION.format(attributes=attributes, after=after, operations=operations)
        (self.folder / "history" / f"{name}.py").write_text(text)

    def sql(self, name: str, statement: str, **said: Any) -> None:
        """Write a migration of one statement, for the shards."""
        self.add(
            name, f'migrations.RunSQL({statement!r}, hints={{"placement": "sharded"}})', **said
        )

    def remove(self, name: str) -> None:
        """Delete a migration."""
        (self.folder / "history" / f"{name}.py").unlink()

    def start(self, *arguments: str, command: str = "migrate_shards") -> "subprocess.Popen[str]":
        """The command in a process of its own."""
        environment = {
            **{key: value for key, value in os.environ.items() if key != "FULCRUM_CONFIG"},
            "PYTHONPATH": os.pathsep.join([str(CHECKOUT), str(self.folder)]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "DJANGO_SETTINGS_MODULE": "tests.unit.routers.ledgerapp.settings",
            "LEDGER_DATABASES": json.dumps(self.databases),
            "LEDGER_MIGRATIONS": "history",
        }
        return subprocess.Popen(
            [sys.executable, "-m", "django", command, *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str, status: int = 0, command: str = "migrate_shards") -> str:
        """The command; what it said. Fails unless it ends with `status`."""
        process = self.start(*arguments, command=command)
        said, _ = process.communicate(timeout=120)
        assert process.returncode == status, said
        return said

    def kill(self, process: "subprocess.Popen[str]") -> None:
        """kill -9."""
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)

    def history(self) -> dict[str, dict[str, Any]]:
        """The newest row of the ledger of each database."""
        rows = json.loads(self.run("--history", "--json"))
        return {row["database"]: row for row in reversed(rows)}

    def query(self, alias: str, statement: str) -> list[Any]:
        """Rows of one database, as its owner."""
        with self.connect(alias) as connection:
            cursor = connection.cursor()
            cursor.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []

    def migrations(self, alias: str) -> list[str]:
        """What a database says it has of the project's own history."""
        rows = self.query(alias, "SELECT name FROM django_migrations WHERE app = 'ledgerapp'")
        return sorted(name for (name,) in rows)

    @contextmanager
    def connect(self, alias: str) -> Iterator[Any]:
        """A connection in autocommit; closed at the end, and with it what it held."""
        given = self.databases[alias]
        connection = _sqlite(given) if "sqlite" in given["ENGINE"] else _postgresql(given)
        try:
            yield connection
        finally:
            connection.close()


def _sqlite(given: dict[str, Any]) -> Any:
    import sqlite3

    return sqlite3.connect(given["NAME"], isolation_level=None)


def _postgresql(given: dict[str, Any]) -> Any:
    connection = psycopg2.connect(
        **{key.lower(): given[key] for key in ("HOST", "PORT", "USER", "PASSWORD")},
        dbname=given["NAME"],
    )
    connection.autocommit = True
    return connection


@contextmanager
def project(folder: Path, like: Project | None = None) -> Iterator[Project]:
    """A project on SQLite files, or on databases of its own on the test servers.

    `like`: one whose databases are copied; nobody may use them meanwhile.
    """
    shutil.copytree(BASE, folder / "history", ignore=shutil.ignore_patterns("__pycache__"))
    aliases = ("default", *SHARDS)
    if not CONFIG:
        databases = {alias: _file(folder, alias) for alias in aliases}
        for alias in aliases if like else ():
            shutil.copy(like.databases[alias]["NAME"], databases[alias]["NAME"])
        yield Project(folder, databases)
        return
    databases = {alias: _server(alias) for alias in aliases}
    try:
        for alias, given in databases.items():
            template = like.databases[alias]["NAME"] if like else "template0"
            _on_server(given, f"CREATE DATABASE {given['NAME']} TEMPLATE {template}")
        yield Project(folder, dict(databases))
    finally:
        for given in databases.values():
            _on_server(given, f"DROP DATABASE IF EXISTS {given['NAME']} WITH (FORCE)")


def _file(folder: Path, alias: str) -> dict[str, Any]:
    options = {"transaction_mode": "IMMEDIATE"}
    name = str(folder / f"{alias}.sqlite3")
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": name, "OPTIONS": options}


def _server(alias: str) -> dict[str, Any]:
    """A database for the superuser: nobody else is let into databases beside the cluster's."""
    given = json.loads(Path(str(CONFIG)).with_name("site-owner.json").read_text())
    secrets = json.loads(Path(str(CONFIG)).with_name("secrets.json").read_text())
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": f"ledger_{alias}_{uuid.uuid4().hex[:8]}",
        "HOST": given["databases"][alias]["host"],
        "PORT": given["databases"][alias]["port"],
        "USER": "postgres",
        "PASSWORD": secrets["superuser"],
    }


def _on_server(given: dict[str, Any], statement: str) -> None:
    connection = _postgresql({**given, "NAME": "postgres"})
    try:
        connection.cursor().execute(statement)
    finally:
        connection.close()

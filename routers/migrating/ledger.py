"""The ledger of migrations, in the catalog: one row for each database of each run.

A row is written before its database is touched and closed afterwards, so a killed run leaves rows
that say running. Whether such a run lives is asked of the system and not of the row: on PostgreSQL
a living run holds an advisory lock on the catalog, which dies with its connection; on SQLite its
process is looked for. What a row lists as applied may be one migration behind the database after a
kill, and never ahead; each database's own django_migrations is what the next run goes by.
"""

import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.db import Error, connections
from django.utils import timezone

from routers.conf import CATALOG
from routers.direct import LOCK_CLASS, introduce, refuse_pooler
from routers.models import MigrationRecord

__all__ = ["Entry", "exists", "history", "new_run", "present"]

Outcome = MigrationRecord.Outcome


def new_run() -> str:
    """A run's id: twelve hexadecimal digits."""
    return uuid.uuid4().hex[:12]


def exists() -> bool:
    """Whether the catalog has the ledger's table yet."""
    return MigrationRecord._meta.db_table in connections[CATALOG].introspection.table_names()


@contextmanager
def present(run: str) -> Iterator[None]:
    """Show, for the length of the block, that this run lives; mark the runs that do not.

    Raises ReachedThroughPooler.
    """
    connection = connections[CATALOG]
    refuse_pooler(connection)
    if connection.vendor == "sqlite":
        _mark_interrupted()
        yield
        return
    introduce(connection, f"migrate_shards {run}")
    key = [LOCK_CLASS, _lock_of(run)]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_lock(%s, %s)", key
        )  # routers: allow W106 - not behind a pooler
    try:
        _mark_interrupted()
        yield
    finally:
        # The catalog may have gone meanwhile, and the lock with it: what was done is still told.
        with suppress(Error), connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_advisory_unlock(%s, %s)", key
            )  # routers: allow W106 - not behind a pooler


class Entry:
    """The row of one run and database, written from the thread that does the work."""

    def __init__(self, run: str, database: str, phase: str) -> None:
        self.row = MigrationRecord(
            run=run,
            database=database,
            phase=phase,
            process=f"{socket.gethostname()}:{os.getpid()}",
            started_at=timezone.now(),
        )

    def begin(self) -> None:
        """Before the database is touched."""
        self.row.save(using=CATALOG)

    def add(self, migration: str) -> None:
        """After each migration. Before `begin`, for the catalog's own ledger, it is only kept."""
        self.row.applied.append(migration)
        if self.row.pk:
            self.row.save(using=CATALOG, update_fields=["applied"])

    def finish(self, error: str = "") -> None:
        """Close the row, done or with an error. Makes it where `begin` was not reached."""
        self.row.outcome = Outcome.FAILED if error else Outcome.DONE
        self.row.error = error
        self.row.finished_at = timezone.now()
        self.row.save(using=CATALOG)


def history(limit: int) -> list[dict[str, Any]]:
    """The newest rows first, as plain values; interrupted where a row runs and its run does not."""
    rows = list(MigrationRecord.objects.using(CATALOG).order_by("-started_at", "-id")[:limit])
    living = _living(rows)
    for row in rows:
        if row.outcome == Outcome.RUNNING and row.run not in living:
            row.outcome = Outcome.INTERRUPTED
    return [_plain(row) for row in rows]


def _mark_interrupted() -> None:
    if not exists():
        return
    running = MigrationRecord.objects.using(CATALOG).filter(outcome=Outcome.RUNNING)
    living = _living(list(running))
    running.exclude(run__in=living).update(outcome=Outcome.INTERRUPTED)


def _living(rows: list[MigrationRecord]) -> set[str]:
    """The runs among these rows that live."""
    if connections[CATALOG].vendor == "sqlite":
        return {row.run for row in rows if _process_lives(row.process)}
    with connections[CATALOG].cursor() as cursor:
        cursor.execute(
            "SELECT objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND classid = %s"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            [LOCK_CLASS],
        )
        held = {key for (key,) in cursor.fetchall()}
    return {row.run for row in rows if _lock_of(row.run) in held}


def _process_lives(process: str) -> bool:
    host, _, pid = process.rpartition(":")
    if host != socket.gethostname():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's, and alive
    return True


def _lock_of(run: str) -> int:
    """The second half of the run's advisory lock: a positive int4, never the lock of a database."""
    return 2**30 + int(run[:7], 16)


def _plain(row: MigrationRecord) -> dict[str, Any]:
    return {
        "run": row.run,
        "database": row.database,
        "phase": row.phase,
        "started": row.started_at.isoformat(timespec="seconds"),
        "finished": row.finished_at and row.finished_at.isoformat(timespec="seconds"),
        "outcome": str(row.outcome),
        "applied": row.applied,
        "error": row.error,
        "process": row.process,
    }

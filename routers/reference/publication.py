"""The catalog's side of carrying reference models by logical replication.

A publication of their tables; waiting until shards have what was written; and holding writers off
for a moment, so that a copy can be compared or made equal.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections, transaction
from django.db.backends.utils import CursorWrapper

from routers.conf import CATALOG
from routers.deadline import own_connection
from routers.exceptions import RoutingError
from routers.placement import reference_models
from routers.reference.replication_slots import PUBLICATION, slot_of

__all__ = [
    "CopiesBehind",
    "frozen",
    "publish",
    "published_tables",
    "wait_until",
    "written",
]

FIRST_PAUSE, LONGEST_PAUSE = 0.002, 0.1  # seconds between two looks


class CopiesBehind(RoutingError):
    """Shards had not received within the time what the catalog holds."""


def publish() -> tuple[list[str], list[str]]:
    """Make the publication hold exactly the reference models' tables: (added, dropped), sorted.

    As the tables' owner. TRUNCATE is not carried: a shard's rows may refer to what it would empty.
    """
    wanted = {model._meta.db_table for model in reference_models()}
    with transaction.atomic(using=CATALOG), connections[CATALOG].cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [PUBLICATION])
        cursor.execute("SELECT FROM pg_publication WHERE pubname = %s", [PUBLICATION])
        if not cursor.fetchall():
            cursor.execute(
                f"CREATE PUBLICATION {PUBLICATION} WITH (publish = 'insert, update, delete')"
            )
        there = _published(cursor)
        added, dropped = sorted(wanted - there), sorted(there - wanted)
        for what, tables in (("ADD", added), ("DROP", dropped)):
            if tables:
                cursor.execute(f"ALTER PUBLICATION {PUBLICATION} {what} TABLE {_quoted(tables)}")
    return added, dropped


def published_tables() -> set[str]:
    """The tables in the publication. Raises RoutingError where there is none."""
    with connections[CATALOG].cursor() as cursor:
        cursor.execute("SELECT FROM pg_publication WHERE pubname = %s", [PUBLICATION])
        if not cursor.fetchall():
            raise RoutingError(
                f"The catalog has no publication {PUBLICATION}. Make it, as the tables' owner: "
                f"`manage.py reference publish`."
            )
        return _published(cursor)


def written() -> str:
    """An LSN at or after every commit so far, on the catalog's disk and so on its way to shards.

    Raises RoutingError inside a transaction, which no shard sees before it is committed.
    """
    connection = connections[CATALOG]
    blocks: list[Any] = connection.atomic_blocks
    if any(not block._from_testcase for block in blocks):
        raise RoutingError(
            "A transaction is open on the catalog, and shards see what it wrote after its commit. "
            "Wait for them outside of it."
        )
    with transaction.atomic(using=CATALOG), connection.cursor() as cursor:
        # A commit that waits for the disk, whatever the server's default is.
        cursor.execute("SET LOCAL synchronous_commit = on")
        cursor.execute("SELECT pg_logical_emit_message(true, %s, '')", [PUBLICATION])
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_wal_flush_lsn()::text")
        return str(cursor.fetchone()[0])


def wait_until(shards: Iterable[str], lsn: str, timeout: float) -> None:
    """Return when these shards have applied, and stored, all that the catalog wrote before `lsn`.

    Raises CopiesBehind after `timeout` seconds, and RoutingError for a shard without a slot.
    """
    names, until = {slot_of(shard): shard for shard in shards}, time.monotonic() + timeout
    pause = FIRST_PAUSE
    while behind := _behind(names, lsn):
        if time.monotonic() > until:
            listed = ", ".join(f"{shard} ({why})" for shard, why in sorted(behind.items()))
            raise CopiesBehind(
                f"After {timeout:g} s these shards have not received what the catalog holds: "
                f"{listed}. `manage.py reference status` shows why."
            )
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


@contextmanager
def frozen(timeout: float) -> Iterator[str]:
    """No write to reference tables in the catalog while the block runs; readers go on.

    Yields an LSN at or after the last write. Writers wait for `timeout` seconds at most, even when
    this process is stopped: then the lock is gone, and what the block does next fails.
    """
    tables = _quoted(model._meta.db_table for model in reference_models())
    with own_connection(CATALOG, timeout) as catalog, catalog.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(f"SET LOCAL lock_timeout = {int(500 * timeout)}")
        cursor.execute(f"SET LOCAL idle_in_transaction_session_timeout = {int(1000 * timeout)}")
        if tables:
            cursor.execute(f"LOCK TABLE {tables} IN SHARE MODE")
        yield written()
        cursor.execute("SELECT 1")  # the lock was held to the end, or this raises


def _behind(names: dict[str, str], lsn: str) -> dict[str, str]:
    """Shard → how far it is from `lsn`."""
    with connections[CATALOG].cursor() as cursor:
        cursor.execute(
            "SELECT slot_name, pg_wal_lsn_diff(%s::pg_lsn, confirmed_flush_lsn)::bigint, active"
            " FROM pg_replication_slots WHERE slot_name = ANY(%s)",
            [lsn, list(names)],
        )
        found = {name: (left, active) for name, left, active in cursor.fetchall()}
    if missing := sorted(names[name] for name in names.keys() - found.keys()):
        raise RoutingError(
            f"{', '.join(missing)} has no subscription to the reference models. Make it, as a "
            f"superuser: `manage.py reference subscribe`."
        )
    return {
        names[name]: f"{left} bytes behind{'' if active else ', not connected'}"
        for name, (left, active) in found.items()
        if left is None or left > 0
    }


def _published(cursor: CursorWrapper) -> set[str]:
    cursor.execute("SELECT tablename FROM pg_publication_tables WHERE pubname = %s", [PUBLICATION])
    return {table for (table,) in cursor.fetchall()}


def _quoted(tables: Iterable[str]) -> str:
    return ", ".join(f'"{table}"' for table in tables)

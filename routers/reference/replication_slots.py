"""A shard's replication slot in the catalog: how far the shard has come with the reference models,
and the WAL that it still needs. (Not to be confused with the slots of the shard map.)
"""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from django.db import Error, connections, transaction

from routers.conf import CATALOG, settings
from routers.direct import sqlstate
from routers.exceptions import RoutingError

__all__ = [
    "PUBLICATION",
    "Slot",
    "create_slot",
    "drop_slot",
    "slot_of",
    "slots",
    "subscribed_shards",
]

PUBLICATION = "routers_reference"
PAUSE = 0.005  # seconds between two looks
QUERY_CANCELED, OBJECT_IN_USE = "57014", "55006"

OLD_TRANSACTIONS = """
    SELECT pid, usename, to_char(xact_start, 'HH24:MI:SS') FROM pg_stat_activity
    WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid() ORDER BY xact_start LIMIT 3
"""


class Slot(NamedTuple):
    """`behind` and `kept` are bytes of WAL: not received by the shard yet, and kept for it."""

    name: str
    active: bool
    state: str
    behind: int | None
    kept: int | None


def slot_of(shard: str) -> str:
    """The name of a shard's slot, and of its subscription."""
    return f"{PUBLICATION}_{re.sub('[^a-z0-9_]', '_', shard.lower())}"[:63]


def slots() -> list[Slot]:
    """Every slot for reference models, sorted by name."""
    with connections[CATALOG].cursor() as cursor:
        cursor.execute(
            "SELECT slot_name, active, coalesce(wal_status, 'lost'),"
            " pg_wal_lsn_diff(pg_current_wal_flush_lsn(), confirmed_flush_lsn)::bigint,"
            " pg_wal_lsn_diff(pg_current_wal_flush_lsn(), restart_lsn)::bigint"
            " FROM pg_replication_slots WHERE starts_with(slot_name, %s) ORDER BY slot_name",
            [f"{PUBLICATION}_"],
        )
        return [Slot(*row) for row in cursor.fetchall()]


def subscribed_shards() -> set[str]:
    """The shards that have a slot in the catalog; none on SQLite."""
    if connections[CATALOG].vendor != "postgresql":
        return set()
    names = {slot.name for slot in slots()}
    return {shard for shard in settings().shards if slot_of(shard) in names}


def create_slot(shard: str, timeout: float) -> None:
    """Make the slot. Waits for every transaction that is open in the catalog's server, bounded."""
    connection = connections[CATALOG]
    try:
        with transaction.atomic(using=CATALOG), connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL statement_timeout = {int(1000 * timeout)}")
            cursor.execute(
                "SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [slot_of(shard)]
            )
    except Error as error:
        if sqlstate(error) != QUERY_CANCELED:
            raise
        with connection.cursor() as cursor:
            cursor.execute(OLD_TRANSACTIONS)
            old = "; ".join(f"pid {pid} of {user} since {at}" for pid, user, at in cursor)
        raise RoutingError(
            f"The slot for {shard} was not made within {timeout:g} s: it waits for transactions "
            f"that began before it in the catalog's server ({old or 'gone by now'}). Run it again "
            f"when they are done."
        ) from error


def drop_slot(shard: str, timeout: float) -> bool:
    """Drop the slot, once nobody uses it; whether there was one. Raises RoutingError."""
    until, name, dropped = time.monotonic() + timeout, slot_of(shard), False
    with connections[CATALOG].cursor() as cursor:
        while True:
            cursor.execute(
                "SELECT active_pid FROM pg_replication_slots WHERE slot_name = %s", [name]
            )
            found = cursor.fetchone()
            if found is None:
                return dropped
            if found[0] is None:
                with _unless_taken():
                    cursor.execute("SELECT pg_drop_replication_slot(%s)", [name])
                    dropped = True
            elif time.monotonic() > until:
                raise RoutingError(
                    f"The slot {name} is in use by pid {found[0]} of the catalog's server after "
                    f"{timeout:g} s. A copy of {shard} may run elsewhere: stop it, or end that "
                    f"process with pg_terminate_backend({found[0]})."
                )
            else:
                time.sleep(PAUSE)


@contextmanager
def _unless_taken() -> Iterator[None]:
    """A slot that somebody took between two looks."""
    try:
        yield
    except Error as error:
        if sqlstate(error) != OBJECT_IN_USE:
            raise

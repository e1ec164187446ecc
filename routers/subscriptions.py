"""The shards' side of carrying reference models by logical replication: one subscription each.

A subscription begins while writers of the reference tables wait, for as long as copying the rows
takes: the shard's copy is made equal, whatever it held, and replication goes on from exactly there.
Copy, subscription and starting point are one transaction on the shard. A kill at any instant leaves
a whole subscription, or a slot alone, which the next run replaces.

Subscribing needs a superuser (PostgreSQL 15 lets nobody else, and he alone sets a starting point);
changes are then applied with that role's rights. In the catalog the subscription logs in with the
role in SHARDING["REFERENCE_SOURCE"], which needs REPLICATION and no right to write.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from django.db import Error, connections, transaction
from django.db.backends.utils import CursorWrapper

from routers.conf import CATALOG, settings
from routers.copies import in_use_named, make_equal
from routers.direct import LOCK_CLASS, refuse_pooler
from routers.exceptions import RoutingError
from routers.replication import (
    PUBLICATION,
    CopiesBehind,
    create_slot,
    drop_slot,
    frozen,
    published_tables,
    slot_of,
    slots,
    wait_until,
    written,
)

__all__ = ["repair", "subscribe", "unsubscribe"]

LOCK_SECONDS = 20
SUBSCRIBING = 2  # the second half of an advisory lock; 1 is a migration

SUBSCRIPTION = """
    SELECT subenabled, subslotname, subconninfo,
           ARRAY(SELECT relname::text FROM pg_subscription_rel JOIN pg_class c ON c.oid = srrelid
                 WHERE srsubid = s.oid)
    FROM pg_subscription s
    WHERE subname = %s
      AND subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@dataclass(frozen=True)
class Subscription:
    """What a shard has."""

    enabled: bool
    slot: str | None
    source: str
    tables: frozenset[str]


def subscribe(shard: str, timeout: float = 30) -> str:
    """See to it that the shard is subscribed to all reference models, and has caught up.

    Returns what was done. Changes nothing twice; takes up what a killed run left.
    """
    with _alone(shard):
        found, tables = _subscription(shard), published_tables()
        if found is None or not _has_slot(shard, found.slot):
            changed = _begin(shard, timeout)
            done = f"subscribed to {len(tables)} tables, {_rows(changed)} copied"
        else:
            done = ", ".join(_mend(shard, found, tables, timeout)) or "up to date"
        wait_until([shard], written(), timeout)
        return done


def unsubscribe(shard: str, timeout: float = 30, *, lost: bool = False) -> bool:
    """End a shard's subscription and drop its slot; whether there was one. The copy stays.

    With `lost` only the slot in the catalog: for a shard that cannot be reached any more.
    """
    if lost or shard not in settings().shards:
        return drop_slot(shard, timeout)
    with _alone(shard):
        return _end(shard, timeout)


def repair(shard: str, timeout: float = 30) -> dict[str, int]:
    """Make a shard's copy equal while replication goes on: label → rows changed.

    A subscription that does not move, because a row of its own is in its way, is begun anew.
    """
    with _alone(shard):
        found = _subscription(shard)
        if found is None or not found.enabled or not _has_slot(shard, found.slot):
            return _begin(shard, timeout)
        try:
            wait_until([shard], written(), timeout / 2)
            with frozen(timeout) as lsn:
                wait_until([shard], lsn, timeout / 2)
                return make_equal(shard)
        except CopiesBehind:
            return _begin(shard, timeout)


def _begin(shard: str, timeout: float) -> dict[str, int]:
    """A new subscription, in place of whatever there is. The slot is made before writers wait:
    it waits for their transactions."""
    source = _source()
    _end(shard, timeout)
    create_slot(shard, timeout)
    try:
        with frozen(timeout) as lsn, in_use_named(shard), transaction.atomic(using=shard):
            changed = make_equal(shard)
            _create(shard, source, lsn, timeout)
    except BaseException:
        with suppress(Error, RoutingError):
            drop_slot(shard, timeout)  # nothing is left behind that keeps WAL
        raise
    return changed


def _create(shard: str, source: str, lsn: str, timeout: float) -> None:
    name = slot_of(shard)
    with connections[shard].cursor() as cursor:
        _keep_out_of_logs(cursor)
        cursor.execute(f"SET LOCAL statement_timeout = {int(1000 * timeout)}")
        cursor.execute(
            f"CREATE SUBSCRIPTION {name} CONNECTION %s PUBLICATION {PUBLICATION} WITH"
            f" (slot_name = '{name}', create_slot = false, copy_data = false, enabled = false,"
            f" synchronous_commit = 'on')",
            [source],
        )
        cursor.execute(
            "SELECT pg_replication_origin_advance('pg_' || oid, %s::pg_lsn) FROM pg_subscription"
            " WHERE subname = %s AND subdbid ="
            " (SELECT oid FROM pg_database WHERE datname = current_database())",
            [lsn, name],
        )
        cursor.execute(f"ALTER SUBSCRIPTION {name} ENABLE")


def _mend(shard: str, found: Subscription, tables: set[str], timeout: float) -> Iterator[str]:
    """What a subscription needs to be as it should; yields what was done."""
    name, source = slot_of(shard), _source()
    with connections[shard].cursor() as cursor:
        if found.source != source:
            with transaction.atomic(using=shard):
                _keep_out_of_logs(cursor)
                cursor.execute(f"ALTER SUBSCRIPTION {name} CONNECTION %s", [source])
            yield "new address or password of the catalog"
        if not found.enabled:
            cursor.execute(f"ALTER SUBSCRIPTION {name} ENABLE")
            yield "enabled"
        if found.tables != tables:
            # Changes to a new table count from the moment when the copy is equal.
            with frozen(timeout) as lsn:
                wait_until([shard], lsn, timeout)
                make_equal(shard)
                cursor.execute(
                    f"ALTER SUBSCRIPTION {name} REFRESH PUBLICATION WITH (copy_data = false)"
                )
            yield f"tables: {', '.join(sorted(tables)) or 'none'}"


def _end(shard: str, timeout: float) -> bool:
    name = slot_of(shard)
    there = _subscription(shard) is not None
    if there:
        with transaction.atomic(using=shard), connections[shard].cursor() as cursor:
            cursor.execute(f"ALTER SUBSCRIPTION {name} DISABLE")
            cursor.execute(f"ALTER SUBSCRIPTION {name} SET (slot_name = NONE)")
            cursor.execute(f"DROP SUBSCRIPTION {name}")
    return drop_slot(shard, timeout) or there


def _subscription(shard: str) -> Subscription | None:
    with connections[shard].cursor() as cursor:
        cursor.execute(SUBSCRIPTION, [slot_of(shard)])
        found = cursor.fetchone()
    if found is None:
        return None
    enabled, slot, source, tables = found
    return Subscription(enabled, slot, source, frozenset(tables))


def _has_slot(shard: str, named: str | None) -> bool:
    """Whether the catalog still keeps what the subscription needs."""
    usable = {slot.name for slot in slots() if slot.state != "lost"}
    return named == slot_of(shard) and named in usable


def _source() -> str:
    """libpq's connection string, of the catalog as the shards see it."""
    given = settings().reference_source
    if not given:
        raise RoutingError(
            'SHARDING["REFERENCE_SOURCE"] does not say how a shard reaches the catalog: '
            '{"host": …, "port": …, "dbname": …, "user": …, "password": …}, a role with '
            "REPLICATION that may read the reference tables."
        )
    escaped = {k: str(v).replace("\\", "\\\\").replace("'", "\\'") for k, v in given.items()}
    return " ".join(f"{key}='{value}'" for key, value in sorted(escaped.items()))


def _keep_out_of_logs(cursor: CursorWrapper) -> None:
    """The statement that follows has a password in it."""
    cursor.execute(
        "SET LOCAL log_statement = 'none'; SET LOCAL log_min_error_statement = 'panic';"
        " SET LOCAL log_min_duration_statement = -1"
    )


@contextmanager
def _alone(shard: str) -> Iterator[None]:
    """One run at a time on a shard, as a superuser and past any pooler. Raises RoutingError."""
    connection, key = connections[shard], [LOCK_CLASS, SUBSCRIBING]
    for one in (connection, connections[CATALOG]):
        one.ensure_connection()
        refuse_pooler(one)
    with connection.cursor() as cursor:
        cursor.execute("SELECT rolsuper, rolname FROM pg_roles WHERE rolname = current_user")
        is_superuser, role = cursor.fetchone()
        if not is_superuser:
            raise RoutingError(
                f"{role} is no superuser of {shard}, which subscribing needs. Run the command "
                f"with settings whose DATABASES log in as one."
            )
        until = time.monotonic() + LOCK_SECONDS  # a killed run's goes with its last statement
        while not _had(cursor, "SELECT pg_try_advisory_lock(%s, %s)", key):
            if time.monotonic() > until:
                raise RoutingError(
                    f"Another run has been at work on the subscription of {shard} for "
                    f"{LOCK_SECONDS} s. Run this again when it is done."
                )
            time.sleep(0.05)
        try:
            yield
        finally:
            with suppress(Error):
                cursor.execute("SELECT pg_advisory_unlock(%s, %s)", key)


def _had(cursor: CursorWrapper, sql: str, key: list[int]) -> bool:
    cursor.execute(sql, key)
    return bool(cursor.fetchone()[0])


def _rows(changed: dict[str, int]) -> str:
    return f"{sum(changed.values())} rows"

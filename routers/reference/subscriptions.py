"""The shards' side of carrying reference models by logical replication: one subscription each.

A subscription is created at rest. It is started while writers of the reference tables wait, for as
long as copying the rows takes: in one transaction on the shard its copy is made equal, whatever it
held, the place in the catalog's WAL from where to go on is set, and the subscription enabled. So a
subscription at rest is always one to start: after a kill at any instant, after an operator disabled
it, or after `repair` stopped it because a row of the shard's own was in its way.

On PostgreSQL 15 all this needs a superuser, and changes are applied with his rights. From 16 on the
tables' owner will do, as a member of pg_create_subscription who may execute
pg_replication_origin_advance. In the catalog the subscription logs in with the role in
SHARDING["REFERENCE_SOURCE"], which needs REPLICATION and no right to write.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from django.db import Error, connections
from django.db.backends.utils import CursorWrapper

from routers.conf import settings
from routers.direct import LOCK_CLASS, Limits, refuse_pooler, set_limits
from routers.exceptions import RoutingError
from routers.reference.copies import make_equal
from routers.reference.publication import (
    CopiesBehind,
    frozen,
    published_tables,
    wait_until,
    written,
)
from routers.reference.replication_slots import drop_slot, slot_of
from routers.reference.subscriber import (
    Subscription,
    create,
    end,
    find,
    is_kept,
    restart,
    rights,
    set_source,
    source_changed,
    start,
)

__all__ = ["repair", "subscribe", "unsubscribe"]

SUBSCRIBING = 2  # the second half of an advisory lock; 1 is a migration
LOCK_SECONDS, PAUSE = 20, 0.02


def subscribe(shard: str, timeout: float = 30) -> str:
    """See to it that the shard is subscribed to all reference models, and has caught up.

    Returns what was done. Changes nothing twice; takes up what a killed run left.
    """
    with _alone(shard, timeout):
        tables, kept = published_tables(), is_kept(shard)
        found = find(shard)
        if found and kept is not True:
            end(shard, timeout)
        if found is None or kept is not True:
            rows = sum(_begin(shard, timeout).values())
            done = f"subscribed to {len(tables)} tables, {rows} rows copied"
        else:
            done = ", ".join(_mend(shard, found, tables, timeout)) or "up to date"
        wait_until([shard], written(), timeout)
        return done


def unsubscribe(shard: str, timeout: float = 30, *, lost: bool = False) -> bool:
    """End a shard's subscription and drop its slot; whether there was one. The copy stays.

    With `lost` only the slot in the catalog: for a shard that cannot be reached any more. That
    needs a superuser of the catalog, or REPLICATION there.
    """
    if lost or shard not in settings().shards:
        return drop_slot(shard, timeout)
    with _alone(shard, timeout):
        return end(shard, timeout)


def repair(shard: str, timeout: float = 30) -> dict[str, int]:
    """Make a shard's copy equal while replication goes on: label → rows changed.

    Where replication does not move, for a row of the shard's own is in its way, it is stopped and
    started from the catalog's present state.
    """
    with _alone(shard, timeout):
        found = find(shard)
        if found is None or is_kept(shard) is not True:
            raise RoutingError(
                f"{shard} has no subscription that could go on. `manage.py reference subscribe "
                f"{shard}` begins one, and makes the copy equal."
            )
        if not found.enabled:
            return start(shard, timeout)
        try:
            wait_until([shard], written(), timeout / 2)
            with frozen(timeout) as lsn:
                wait_until([shard], lsn, timeout / 2)
                return make_equal(shard)
        except CopiesBehind:
            return restart(shard, timeout)


def _begin(shard: str, timeout: float) -> dict[str, int]:
    create(shard, timeout)
    try:
        return start(shard, timeout)
    except BaseException:
        with suppress(Error, RoutingError):
            end(shard, timeout)  # a slot at rest would keep WAL
        raise


def _mend(shard: str, found: Subscription, tables: set[str], timeout: float) -> Iterator[str]:
    """What a subscription needs to be as it should; yields what was done."""
    if source_changed(found):
        set_source(shard)
        yield "the catalog's address and password set"
    if not found.enabled:
        yield f"started, {sum(start(shard, timeout).values())} rows copied"
    if found.tables != tables:
        # Changes to a new table count from the moment when the copy is equal.
        with frozen(timeout) as lsn, connections[shard].cursor() as cursor:
            wait_until([shard], lsn, timeout)
            make_equal(shard)
            cursor.execute(
                f"ALTER SUBSCRIPTION {slot_of(shard)} REFRESH PUBLICATION WITH (copy_data = false)"
            )
        yield f"tables: {', '.join(sorted(tables)) or 'none'}"


@contextmanager
def _alone(shard: str, timeout: float) -> Iterator[None]:
    """One run at a time on a shard, with the rights that it needs; its connection is closed then.

    Raises RoutingError.
    """
    connection, key = connections[shard], [LOCK_CLASS, SUBSCRIBING]
    try:
        connection.ensure_connection()
        refuse_pooler(connection)
        is_superuser, role, may_subscribe = rights(shard)
        if not (is_superuser or may_subscribe):
            raise RoutingError(
                f"{role} may not subscribe {shard}: that takes a superuser, or from PostgreSQL 16 "
                f"on a member of pg_create_subscription who may execute "
                f"pg_replication_origin_advance. Run it with settings whose DATABASES log in so."
            )
        with connection.cursor() as cursor:
            if is_superuser:  # there is a password in what comes
                cursor.execute(
                    "SET log_statement = 'none'; SET log_min_error_statement = 'panic'"
                )  # routers: allow W107 - direct
                cursor.execute(
                    "SET log_min_duration_statement = -1"
                )  # routers: allow W107 - direct
            until = time.monotonic() + LOCK_SECONDS  # a killed run's goes with its last statement
            while not _had(cursor, key):
                if time.monotonic() > until:
                    raise RoutingError(
                        f"Another run has been at work on the subscription of {shard} for "
                        f"{LOCK_SECONDS} s. Run this again when it is done."
                    )
                time.sleep(PAUSE)
        set_limits(connection, Limits(lock_timeout=timeout, statement_timeout=timeout))
        yield
    finally:
        connection.close()


def _had(cursor: CursorWrapper, key: list[int]) -> bool:
    cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", key)  # routers: allow W106 - direct
    return bool(cursor.fetchone()[0])

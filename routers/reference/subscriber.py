"""One shard's subscription: found, created at rest, started, ended. See `subscriptions`."""

import hashlib
import time
from dataclasses import dataclass

from django.db import connections, transaction
from django.db.backends.utils import CursorWrapper

from routers.conf import CATALOG, settings
from routers.exceptions import RoutingError
from routers.reference.copies import in_use_named, make_equal
from routers.reference.publication import frozen
from routers.reference.replication_slots import PUBLICATION, create_slot, drop_slot, slot_of, slots

__all__ = [
    "Subscription",
    "create",
    "end",
    "find",
    "is_kept",
    "restart",
    "rights",
    "set_source",
    "source_changed",
    "start",
]

PAUSE = 0.02  # seconds between two looks

SUBSCRIPTION = """
    SELECT oid, subenabled, obj_description(oid, 'pg_subscription'),
           ARRAY(SELECT relname::text FROM pg_subscription_rel JOIN pg_class c ON c.oid = srrelid
                 WHERE srsubid = s.oid),
           EXISTS (SELECT FROM pg_stat_subscription w WHERE w.subid = s.oid AND pid IS NOT NULL)
    FROM pg_subscription s
    WHERE subname = %s
      AND subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
RIGHTS = """
    SELECT rolsuper, rolname, EXISTS (SELECT FROM pg_roles
        WHERE rolname = 'pg_create_subscription' AND pg_has_role(oid, 'MEMBER'))
        AND has_function_privilege('pg_replication_origin_advance(text, pg_lsn)', 'EXECUTE')
    FROM pg_roles WHERE rolname = current_user
"""


@dataclass(frozen=True)
class Subscription:
    """What a shard has. `source` is a digest of how it reaches the catalog."""

    oid: int
    enabled: bool
    source: str | None
    tables: frozenset[str]
    works: bool


def create(shard: str, timeout: float) -> None:
    """At rest, with a slot of its own or the one that a killed run left behind.

    The slot is made by the catalog itself where we may do that: from there it can be called off.
    """
    name, source = slot_of(shard), _source()
    may_make_slots = rights(CATALOG)[0]
    if is_kept(shard) is False:
        drop_slot(shard, timeout)
    if is_kept(shard) is None and may_make_slots:
        create_slot(shard, timeout)
    make = "false" if is_kept(shard) else "true"
    with connections[shard].cursor() as cursor:
        cursor.execute(
            f"CREATE SUBSCRIPTION {name} CONNECTION %s PUBLICATION {PUBLICATION} WITH"
            f" (slot_name = '{name}', create_slot = {make}, copy_data = false, enabled = false,"
            f" synchronous_commit = 'on')",
            [source],
        )
        _note_source(cursor, name, source)


def start(shard: str, timeout: float) -> dict[str, int]:
    """From the catalog's present state on. Label → rows changed."""
    with connections[shard].cursor() as cursor:
        oid = _at_rest(shard, timeout)
        with frozen(timeout) as lsn, in_use_named(shard), transaction.atomic(using=shard):
            changed = make_equal(shard)
            cursor.execute(
                "SELECT pg_replication_origin_advance(%s, %s::pg_lsn)", [f"pg_{oid}", lsn]
            )
            cursor.execute(f"ALTER SUBSCRIPTION {slot_of(shard)} ENABLE")
    return changed


def restart(shard: str, timeout: float) -> dict[str, int]:
    """Stop, and start from the catalog's present state; where that fails, go on as before."""
    name = slot_of(shard)
    with connections[shard].cursor() as cursor:
        cursor.execute(f"ALTER SUBSCRIPTION {name} DISABLE")
        try:
            return start(shard, timeout)
        except BaseException:
            cursor.execute(f"ALTER SUBSCRIPTION {name} ENABLE")
            raise


def _at_rest(shard: str, timeout: float) -> int:
    """Wait until nothing is applied any more; the subscription's oid."""
    until = time.monotonic() + timeout
    while (found := find(shard)) is not None and found.works:
        if time.monotonic() > until:
            raise RoutingError(f"The subscription of {shard} does not stop within {timeout:g} s.")
        time.sleep(PAUSE)
    if found is None:
        raise RoutingError(f"The subscription of {shard} is gone: another run dropped it.")
    return found.oid


def end(shard: str, timeout: float) -> bool:
    """Drops the slot too. Whether there was a subscription, or a slot alone."""
    name, kept = slot_of(shard), is_kept(shard)
    if find(shard) is None:
        return drop_slot(shard, timeout)
    with connections[shard].cursor() as cursor:
        if kept is None:
            cursor.execute(f"ALTER SUBSCRIPTION {name} DISABLE")
            cursor.execute(f"ALTER SUBSCRIPTION {name} SET (slot_name = NONE)")
        cursor.execute(f"DROP SUBSCRIPTION {name}")
    return True


def find(shard: str) -> Subscription | None:
    with connections[shard].cursor() as cursor:
        cursor.execute(SUBSCRIPTION, [slot_of(shard)])
        found = cursor.fetchone()
    if found is None:
        return None
    oid, enabled, source, tables, works = found
    return Subscription(oid, enabled, source, frozenset(tables), works)


def is_kept(shard: str) -> bool | None:
    """Whether the catalog keeps what the shard still needs; None where there is no slot."""
    states = {slot.name: slot.state for slot in slots()}
    state = states.get(slot_of(shard))
    return None if state is None else state != "lost"


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


def source_changed(found: Subscription) -> bool:
    """Whether the subscription reaches the catalog in another way than the settings say."""
    return found.source != _digest(_source())


def set_source(shard: str) -> None:
    """Point the subscription to where the settings say the catalog is."""
    name, source = slot_of(shard), _source()
    with connections[shard].cursor() as cursor:
        cursor.execute(f"ALTER SUBSCRIPTION {name} CONNECTION %s", [source])
        _note_source(cursor, name, source)


def _digest(source: str) -> str:
    return hashlib.sha256(source.encode()).hexdigest()[:16]


def _note_source(cursor: CursorWrapper, name: str, source: str) -> None:
    """To see a change without reading a password."""
    cursor.execute(f"COMMENT ON SUBSCRIPTION {name} IS '{_digest(source)}'")


def rights(alias: str) -> tuple[bool, str, bool]:
    """Whether we are a superuser there, our name, whether we may subscribe without being one."""
    with connections[alias].cursor() as cursor:
        cursor.execute(RIGHTS)
        is_superuser, role, may_subscribe = cursor.fetchone()
    return is_superuser, role, may_subscribe

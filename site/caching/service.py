"""Whether a database's cache is in service: a row in that database, and a lease on what it says.

A writer that cannot reach Redis turns the cache of its database off, in its own transaction and for
everybody. Readers ask the row at most once in LEASE_SECONDS, so its commit is not acknowledged
before every lease that is older than it has ended. Who turns it on again makes a new epoch, which
is in every entry's key, and cannot do so while such a writer's transaction is open: that holds the
row. Leases count seconds on one machine, by a clock that never jumps.

The row: `epoch`, `is_off`. Beside it a lease knows the server's identity and timeline: a restored
backup or a promoted replica has no entries of what was there before.
"""

import os
import threading
import time
from dataclasses import dataclass

from django.db import Error

from caching.clock import now
from caching.conf import settings
from caching.servers import servers
from caching.sql import ask
from caching.wire import AWAY, RedisAway, wire
from routers.direct import sqlstate

__all__ = ["Lease", "acknowledge", "current", "forget", "known", "state", "turn_off"]

MISSING = 10.0  # seconds until a database without the row is asked again
NO_SUCH_THING = "42"  # how PostgreSQL's codes begin for a missing table, or one not allowed

READ = """
SELECT row.epoch, row.is_off, concat_ws('.', server.system_identifier, here.oid,
       left(pg_walfile_name(pg_current_wal_lsn()), 8), row.epoch)
FROM caching_service row, pg_control_system() server, pg_database here
WHERE here.datname = current_database()
"""
TURN_ON = """
WITH free AS (SELECT id FROM caching_service WHERE is_off FOR UPDATE SKIP LOCKED)
UPDATE caching_service SET is_off = false, epoch = epoch + 1 WHERE id IN (SELECT id FROM free)
"""
TURN_OFF = """
UPDATE caching_service SET is_off = true, epoch = epoch + 1 WHERE NOT is_off RETURNING epoch
"""
HELD_OFF = "SELECT epoch, is_off FROM caching_service FOR SHARE"
THERE = "SELECT to_regclass('caching_service') IS NOT NULL"


@dataclass(frozen=True, slots=True)
class Lease:
    """`identity`: of the data, for keys; "" while the cache is off. `until`: by `clock.now`."""

    identity: str
    until: float


_leases: dict[str, Lease] = {}
_off: dict[str, tuple[int, float]] = {}
"""Database → the epoch in which this process saw it off, and since when it knows."""
_turns: dict[str, threading.Lock] = {}
"""Database → what the thread holds that renews its lease."""


def current(alias: str, *, renew: bool) -> str:
    """The identity of the database's data, "" where its cache is not in service or not known to be.

    `renew` asks the database where the lease has ended, so it is False inside a transaction. One
    thread asks; the others wait a moment for what it hears, and then do without the cache.
    """
    lease = _valid(alias)
    if lease is None and renew:
        lease = _renewed_by_one(alias)
    return lease.identity if lease is not None else ""


def known() -> dict[str, bool]:
    """Database → whether its cache was in service when this process last asked."""
    return {alias: bool(lease.identity) for alias, lease in list(_leases.items())}


def forget() -> None:
    """No lease of this process is valid any more."""
    _leases.clear()


def _valid(alias: str) -> Lease | None:
    lease = _leases.get(alias)
    return lease if lease is not None and lease.until >= now() else None


def _renewed_by_one(alias: str) -> Lease | None:
    """None where the thread whose turn it is takes too long."""
    turn = _turns.setdefault(alias, threading.Lock())
    if not turn.acquire(timeout=settings().answer_seconds):
        return None
    try:
        lease = _valid(alias)
        if lease is None:
            lease = _leases[alias] = _renewed(alias)
        return lease
    finally:
        turn.release()


def _renewed(alias: str) -> Lease:
    began = now()
    until = began + settings().lease_seconds
    try:
        row = ask(alias, READ)
        if row is not None and row[1] and _may_turn_on(alias, row[0]):
            ask(alias, TURN_ON)
            row = ask(alias, READ)
    except Error as error:
        is_missing = (sqlstate(error) or "").startswith(NO_SUCH_THING)
        return Lease("", now() + (MISSING if is_missing else settings().lease_seconds))
    if row is None or row[1]:
        return Lease("", until)
    return Lease(row[2], until)


def _may_turn_on(alias: str, epoch: int) -> bool:
    """Not while Redis takes no writes: each writer would turn it off again, and wait."""
    return now() - _known_off(alias, epoch) > settings().off_seconds and _takes_writes()


def _takes_writes() -> bool:
    """Whether every Redis server does."""
    prefix = settings().prefix
    try:
        for slot in servers().slots():
            wire().call(lambda run, slot=slot: ("SET", f"{prefix}:{run}:{{{slot}}}", "1", "EX", 9))  # type: ignore[misc]
    except (RedisAway, *AWAY):
        return False
    return True


def _known_off(alias: str, epoch: int) -> float:
    """Since when this process knows that the cache is off in that epoch."""
    if _off.get(alias, (0, 0.0))[0] != epoch:
        _off[alias] = epoch, now()
    return _off[alias][1]


def state(alias: str) -> tuple[int, bool] | None:
    """(epoch, is off) of the database; None where it has no such row."""
    if not ask(alias, THERE)[0]:
        return None
    epoch, is_off = ask(alias, "SELECT epoch, is_off FROM caching_service")
    return int(epoch), bool(is_off)


def turn_off(alias: str) -> int | None:
    """In the open transaction, just before its COMMIT; then the epoch, for `acknowledge`.

    None where the database has no such row, so that nobody caches its data.
    """
    if not ask(alias, THERE)[0]:
        return None
    while True:
        changed = ask(alias, TURN_OFF)
        if changed is not None:
            return int(changed[0])
        epoch, is_off = ask(alias, HELD_OFF)
        if is_off:
            _known_off(alias, epoch)
            return int(epoch)


def acknowledge(alias: str, epoch: int) -> None:
    """After the COMMIT: return when nobody has a lease any more that is older than the off."""
    ends = _known_off(alias, epoch) + 1.1 * settings().lease_seconds
    while (left := ends - now()) > 0:
        time.sleep(left)


os.register_at_fork(after_in_child=_turns.clear)  # their holders are not there

"""Reads from replicas that never miss a write of their account.

A unit of work is the outermost `account_context`: a request, a command; or a Celery task. At its
first read of an account it learns up to where that account has been written, by anybody, and takes
a replica that has replayed so much; where there is none, or it cannot know, the primary. A unit
that writes reads from the primary from then on, and so does whatever is done inside a transaction.

Before its first write a writer leaves a token on Redis, and takes it away when it writes down the
position that holds its commit: nobody reads the account from a replica meanwhile. Only then do the
project's own on_commit callbacks run. See `written` for what is kept there; the same positions
go with the visitor, in a signed cookie that needs no database.

What is guaranteed: a read that starts after a write of the account was acknowledged (commit
returned, on_commit ran) sees it, with these bounds. Redis is out of reach for the writer alone,
from before its write, and keeps an older position: then others may read older rows, until that
process reaches Redis again, or for REPLICA_MEMORY_SECONDS. A writer is killed between commit and
recording: the account is read from the primary until its token is given up, after as many seconds.
A unit keeps a replica for a second before it asks again. SQL of your own, past the ORM, is noticed
inside `account_atomic()`; elsewhere only you can tell that it writes: `mark_written()`. After a
failover, a replica that follows the old primary must not be among REPLICAS: positions of two
timelines do not compare.
"""

import os
from collections import Counter
from collections.abc import Callable, Mapping
from contextvars import ContextVar

from routers.conf import settings
from routers.replicas import written
from routers.replicas.transaction import has_written, will_record
from routers.replicas.unit import Choice, Unit, in_event_loop, primary_only

__all__ = [
    "Choice",
    "Unit",
    "begin",
    "current_unit",
    "end",
    "heed_own_sql",
    "mark_written",
    "primary_only",
    "reading_from",
    "served",
    "wrote",
]

served: Counter[tuple[str, str]] = Counter()
"""Reads of this process: (alias, why) → how many. Why: a `Choice`'s."""

_unit: ContextVar[Unit | None] = ContextVar("routers_unit", default=None)
os.register_at_fork(after_in_child=lambda: _unit.set(None))  # its tokens are the parent's

current_unit: Callable[[], Unit | None] = _unit.get
"""The unit of work that is under way, if any."""


def begin(visitor: Callable[[], Mapping[str, str]] = dict, *, anew: bool = False) -> Unit | None:
    """Begin a unit of work, for `end`; None inside another, or where there are no replicas.

    `visitor` gives what its visitor is known to have written: name → position. `anew`: another one
    here is no longer under way, it was left behind.
    """
    if anew:
        _unit.set(None)
    if not settings().recorded or _unit.get() is not None:
        return None
    unit = Unit(visitor)
    _unit.set(unit)
    return unit


def end(unit: Unit | None) -> None:
    """End what `begin` has begun. In an event loop what was written is left to be given up."""
    if unit is None:
        return
    _unit.set(None)
    if not in_event_loop():
        unit.finish()


def reading_from(primary: str, account_id: int | None) -> Choice:
    """From where the account is read now: its shard, or a replica that has all its writes."""
    unit = _unit.get()
    if unit is None or account_id is None or primary not in settings().recorded:
        return Choice(primary, "no unit")
    return unit.choose(primary, account_id)


def wrote(primary: str, account_id: int | None) -> None:
    """A write to the account (None: to all accounts) on that shard begins. Cheap when repeated."""
    if primary in settings().recorded:
        (_unit.get() or Unit()).write(primary, account_id)


def heed_own_sql(primary: str, account_id: int) -> None:
    """At the end of a transaction of the account's: record it, if anything at all was written."""
    recorded = primary not in settings().recorded or will_record(
        primary, written.name_of(primary, account_id)
    )
    if not recorded and has_written(primary):
        wrote(primary, account_id)


def mark_written() -> None:
    """Say that SQL of your own writes, or has written, to the account in force.

    Needed where neither model nor queryset does it (`connection.cursor()`, a COPY, a procedure)
    and no `account_atomic()` is around it. Inside `all_accounts(shard)` it counts for every account
    there.
    """
    from routers.context import current_scope

    if (scope := current_scope()) is not None:
        wrote(scope.alias(), scope.account_id)

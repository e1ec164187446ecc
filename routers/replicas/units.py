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

import asyncio
import os
import random
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from math import inf
from threading import get_ident
from time import monotonic
from typing import Any

from django.db import Error, connections

from routers.conf import settings
from routers.replicas import positions, written
from routers.replicas.transaction import has_written, in_transaction, will_record

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

CHOICE_SECONDS = 1.0

served: Counter[tuple[str, str]] = Counter()
"""Reads of this process: (alias, why) → how many. Why: a `Choice`'s."""


@dataclass(frozen=True)
class Choice:
    """From where an account is read, until when, and why.

    Why: "caught up" for a replica; for the primary "written" (in this unit), "writing" (in
    another), "unknown" (to Redis), "redis" (away), "behind", "failed" (the replica), "transaction",
    "asked" (`primary_only`), "event loop", "no unit" or "off".
    """

    alias: str
    why: str
    lsn: str = ""
    until: float = inf


class Unit:
    """One unit of work. Shared by the threads and tasks that it starts."""

    def __init__(self, visitor: Callable[[], Mapping[str, str]] = dict) -> None:
        self._token = secrets.token_hex(6)
        self.visitor = visitor
        self._wrote = self._failed = False
        self._choices: dict[int, Choice] = {}
        # Tokens on Redis: (name, token) → primary, and when it was last said.
        self._open: dict[tuple[str, str], tuple[str, float]] = {}
        self.recorded: dict[str, str] = {}
        """Name → position of what this unit has written."""

    def choose(self, primary: str, account_id: int) -> Choice:
        """From where the account is read now."""
        if reason := self._why_primary(primary):
            return Choice(primary, reason)
        choice = self._choices.get(account_id)
        if choice is None or choice.until < monotonic():
            if _in_event_loop():  # neither database nor Redis may be asked here
                return Choice(primary, "event loop")
            choice = self._choices[account_id] = self._chosen(primary, account_id, choice)
        return choice

    def needs(self, replica: str) -> str:
        """The position without which this unit must not read there; "" if it has not chosen it."""
        return max((c.lsn for c in list(self._choices.values()) if c.alias == replica), default="")

    def give_up_replicas(self) -> None:
        """Read from the primary from now on."""
        self._failed = True

    def _why_primary(self, primary: str) -> str:
        if self._wrote:
            return "written"
        if self._failed:
            return "failed"
        if _primary_only.get():
            return "asked"
        if not settings().replica_reads:
            return "off"
        return "transaction" if in_transaction(primary) else ""

    def _chosen(self, primary: str, account_id: int, before: Choice | None) -> Choice:
        """Never from one replica to another, nor back from the primary: time would run back."""
        names = [written.name_of(primary, account_id), written.name_of(primary, None)]
        try:
            seen = written.look(names)
        except written.RedisAway:
            return Choice(primary, "redis")
        if seen.state == "unknown":
            with suppress(Error):
                lsn = positions.current(primary)
                for name in names:
                    written.settle(name, lsn, seen)
        if seen.state != "known":
            return Choice(primary, seen.state)
        visitor = self.visitor()
        lsn = max(seen.lsn, *(visitor.get(name, "") for name in names))
        replicas = settings().recorded[primary]
        candidates = [before.alias] if before else random.sample(replicas, len(replicas))
        for replica in candidates:
            if positions.has_reached(replica, lsn):
                return Choice(replica, "caught up", lsn, monotonic() + CHOICE_SECONDS)
        return Choice(primary, "behind")

    def write(self, primary: str, account_id: int | None) -> None:
        """A write begins: others read from the primary until it is recorded."""
        self._wrote = True
        name = written.name_of(primary, account_id)
        inside = in_transaction(primary)
        if inside and will_record(primary, name):
            return
        token, now = f"{self._token}:{get_ident()}", monotonic()
        _, said = self._open.get((name, token), (primary, -inf))
        if said + settings().replica_memory_seconds / 2 < now:
            written.begin(name, token)
            self._open[name, token] = primary, now
        if inside:
            self._record_after_commit(primary, name, token)

    def _record_after_commit(self, primary: str, name: str, token: str) -> None:
        """Before the project's own callbacks, whatever savepoint is rolled back."""
        record = partial(self._record, primary, name, token)
        callbacks: list[Any] = connections[primary].run_on_commit
        callbacks.insert(0, (set(), record, True))  # `will_record` finds it

    def finish(self) -> None:
        """Record what was written outside of transactions."""
        for (name, token), (primary, _) in list(self._open.items()):
            if not in_transaction(primary):
                self._record(primary, name, token)

    def _record(self, primary: str, name: str, token: str) -> None:
        """Where the position cannot be had, the token stays, and is given up in time."""
        self._open.pop((name, token), None)
        with suppress(Error):
            lsn = positions.current(primary)
            self.recorded[name] = lsn
            written.finish(name, token, lsn)


_unit: ContextVar[Unit | None] = ContextVar("routers_unit", default=None)
os.register_at_fork(after_in_child=lambda: _unit.set(None))  # its tokens are the parent's
_primary_only: ContextVar[bool] = ContextVar("routers_primary_only", default=False)

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
    if not _in_event_loop():
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


@contextmanager
def primary_only() -> Iterator[None]:
    """Read from primaries in this block."""
    token = _primary_only.set(True)
    try:
        yield
    finally:
        _primary_only.reset(token)


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True

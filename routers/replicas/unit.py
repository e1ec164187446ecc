"""One unit of work: from where it reads, what it has written. Its rules are those of `units`."""

import asyncio
import random
import secrets
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
from routers.replicas.transaction import in_transaction, will_record

__all__ = ["Choice", "Unit", "in_event_loop", "primary_only"]

CHOICE_SECONDS = 1.0

_primary_only: ContextVar[bool] = ContextVar("routers_primary_only", default=False)


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
            if in_event_loop():  # neither database nor Redis may be asked here
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


@contextmanager
def primary_only() -> Iterator[None]:
    """Read from primaries in this block."""
    token = _primary_only.set(True)
    try:
        yield
    finally:
        _primary_only.reset(token)


def in_event_loop() -> bool:
    """Where neither database nor Redis may be asked."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True

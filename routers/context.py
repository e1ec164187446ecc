"""Whose work this is: the account in force, carried by a context variable.

asyncio tasks, and functions handed over by asgiref, inherit it. Threads and generators do not by
themselves: `carry` gives it to them.
"""

import inspect
import os
from collections.abc import Callable
from contextlib import ContextDecorator
from contextvars import ContextVar, Token
from dataclasses import dataclass
from functools import wraps
from types import TracebackType
from typing import Any

from django.db import connections

from routers.conf import settings
from routers.exceptions import CrossAccount, InvalidAccount, RoutingError
from routers.replicas.units import Unit, begin, end
from routers.shard_map import shard_of

__all__ = [
    "SCOPE",
    "Scope",
    "account_context",
    "all_accounts",
    "current_account",
    "current_scope",
    "is_async",
]

MAX_ACCOUNT = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Scope:
    """One account (`account_id`), every account of one shard (`shard`), or neither: every account.

    In the last one a query can be written, and `fan_out` alone can run it.
    """

    account_id: int | None = None
    shard: str | None = None

    def __str__(self) -> str:
        if self.account_id is not None:
            return f"account {self.account_id}"
        return "all accounts" if self.shard is None else f"all of {self.shard}"

    def alias(self) -> str:
        """The database of this scope. Raises RoutingError where it is not one."""
        if self.account_id is not None:
            return shard_of(self.account_id)
        if self.shard is None:
            raise RoutingError(
                "all_accounts() is every shard, and a query runs on one. Hand it to "
                "`fan_out(query)`, or name the shard: `with all_accounts(shard):`."
            )
        return self.shard


SCOPE: ContextVar[Scope | None] = ContextVar("routers_scope", default=None)
"""For carriers of work (a task, a pool), which begin in a context of nobody's; else `Switch`."""
# A pool's process would otherwise do everybody's work in the account that happened to fork it.
os.register_at_fork(after_in_child=lambda: SCOPE.set(None))


class Switch(ContextDecorator):
    """Puts a scope in force for a block, or for a decorated function. What the two below return."""

    __slots__ = ("_token", "_unit", "scope")

    def __init__(self, scope: Scope | None) -> None:
        self.scope = scope
        self._token: Token[Scope | None] | None = None
        self._unit: Unit | None = None

    def __enter__(self) -> None:
        if self._token is not None:
            raise RoutingError(
                f"This block of {self.scope} is entered already, here or in another thread. Make "
                f"one for each `with`: account_context(…), all_accounts(…)."
            )
        _refuse_open_transaction(SCOPE.get(), self.scope)
        self._token = SCOPE.set(self.scope)
        if settings().recorded:
            self._unit = begin()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        unit, self._unit = self._unit, None
        try:
            end(unit)
        finally:
            in_order = self._leave()
        if error is None and not in_order:
            raise RoutingError(
                f"The block of {self.scope} was not left where it was entered, or not last in, "
                f"first out. A generator that sets an account leaks it into its consumer: wrap it "
                f"in carry()."
            )

    def _leave(self) -> bool:
        """Take the scope out of force; False where nobody can tell what was before it: nothing."""
        now, token, self._token = SCOPE.get(), self._token, None
        SCOPE.set(None)
        if token is None or now is not self.scope:
            return False
        try:
            SCOPE.reset(token)
        except ValueError:  # entered in the context of another thread or task
            return False
        return True

    def _recreate_cm(self) -> "Switch":
        return Switch(self.scope)

    def __call__(self, function: Any) -> Any:
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                f"{function.__qualname__} is a generator function: what it decorates would end "
                f"before the first row. Set the account where it is called, and use carry()."
            )
        if not is_async(function):
            return super().__call__(function)

        @wraps(function)
        async def inside(*args: Any, **kwargs: Any) -> Any:
            with self._recreate_cm():
                return await function(*args, **kwargs)

        return inside


def account_context(account_id: int) -> Switch:
    """Run the block, or the decorated function, for one account. Contexts nest.

    Raises InvalidAccount for anything but a positive 64-bit integer, and CrossAccount inside an
    open transaction of another account.
    """
    if type(account_id) is not int or not 0 < account_id <= MAX_ACCOUNT:
        raise InvalidAccount(account_id)
    return Switch(Scope(account_id=account_id))


def all_accounts(shard: str | None = None) -> Switch:
    """Run the block over every account of one shard: no filter by account.

    Writes need an explicit `account_id` on each row. Without a shard, queries are only written
    here and run by `fan_out`. Raises RoutingError for an unknown shard.
    """
    if shard is not None and shard not in settings().shards:
        known = ", ".join(sorted(settings().shards))
        raise RoutingError(f"{shard!r} is no shard. The shards in SHARDING are: {known}.")
    return Switch(Scope(shard=shard))


def current_account() -> int | None:
    """The account in force, or None outside any `account_context`."""
    scope = SCOPE.get()
    return scope.account_id if scope else None


current_scope: Callable[[], Scope | None] = SCOPE.get
"""The scope in force: an account, a shard, every shard, or None."""


def is_async(function: Any) -> bool:
    """Whether calling it makes a coroutine: an `async def`, a partial of one, or such an object."""
    called = getattr(function, "__call__", None)  # noqa: B004 - the method itself is looked at
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called)


def _refuse_open_transaction(before: Scope | None, after: Scope | None) -> None:
    """Work of two accounts never shares a transaction by accident: see CrossAccount."""
    if before is None or before.account_id is None or before == after:
        return
    alias = before.alias()
    blocks: list[Any] = connections[alias].atomic_blocks
    if any(not block._from_testcase for block in blocks):
        raise CrossAccount(
            f"{after} cannot be set here: a transaction of {before} is open on {alias}. Close it "
            f"first, or use account_on_commit() for what comes after it."
        )

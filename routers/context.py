"""Whose work this is: the account in force, carried by a context variable.

A context variable follows threads started with a copied context, asyncio tasks and generators
alike, which a thread-local does not.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from routers.conf import settings
from routers.exceptions import InvalidAccount, RoutingError
from routers.shard_map import shard_of

__all__ = ["Scope", "account_context", "all_accounts", "current_account", "current_scope"]

MAX_ACCOUNT = 2**63 - 1


@dataclass(frozen=True)
class Scope:
    """Either one account (`account_id`), or every account of one shard (`shard`)."""

    account_id: int | None = None
    shard: str | None = None

    @classmethod
    def begun(cls, hints: Mapping[str, Any]) -> "Scope":
        """The scope in which a query was begun, by its hints; an empty one where none say."""
        return cls(hints.get("account_id"), hints.get("shard"))

    def __str__(self) -> str:
        return f"account {self.account_id}" if self.shard is None else f"all of {self.shard}"

    def alias(self) -> str:
        """The database of this scope."""
        return self.shard or shard_of(self.account_id or 0)


_scope: ContextVar[Scope | None] = ContextVar("routers_scope", default=None)


@contextmanager
def account_context(account_id: int) -> Iterator[None]:
    """Run the block, or the decorated function, for one account. Contexts nest.

    Raises InvalidAccount for anything but a positive 64-bit integer.
    """
    token = _scope.set(Scope(account_id=_valid(account_id)))
    try:
        yield
    finally:
        _scope.reset(token)


@contextmanager
def all_accounts(shard: str) -> Iterator[None]:
    """Run the block over every account of one shard: no filter by account.

    Writes need an explicit `account_id` on each row. Raises RoutingError for an unknown shard.
    """
    if shard not in settings().shards:
        known = ", ".join(sorted(settings().shards))
        raise RoutingError(f"{shard!r} is no shard. The shards in SHARDING are: {known}.")
    token = _scope.set(Scope(shard=shard))
    try:
        yield
    finally:
        _scope.reset(token)


def current_account() -> int | None:
    """The account in force, or None outside any `account_context`."""
    scope = _scope.get()
    return scope.account_id if scope else None


def current_scope() -> Scope | None:
    """The scope in force: one account, one whole shard, or None."""
    return _scope.get()


def _valid(account_id: object) -> int:
    if type(account_id) is not int or not 0 < account_id <= MAX_ACCOUNT:
        raise InvalidAccount(account_id)
    return account_id

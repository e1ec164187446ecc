"""The account's own transaction.

`transaction.atomic()` without `using` opens on the catalog, where an account has no rows: it would
protect nothing. This opens on the account's shard.

Where reads go to replicas, a block that has written anything is recorded, were it by SQL past the
ORM. Nobody sees a write before its commit, so the block asks PostgreSQL at its end, and only if the
ORM has not written in it: a block that does nothing but read pays one question to the primary, and
the account goes on being read from replicas.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ContextDecorator, contextmanager
from types import TracebackType
from typing import Any, TypeVar, overload

from django.db import transaction

from routers.carrying import carry
from routers.conf import settings
from routers.context import current_account
from routers.exceptions import RoutingError
from routers.replicas.units import heed_own_sql
from routers.shard_map import shard_of

__all__ = ["account_atomic", "account_on_commit"]

Work = TypeVar("Work", bound=Callable[..., Any])


class _AccountAtomic(ContextDecorator):
    """The account is looked up when the block begins, not when a function is decorated."""

    def __init__(self, savepoint: bool, durable: bool) -> None:
        self._options = {"savepoint": savepoint, "durable": durable}

    def __enter__(self) -> None:
        account_id, alias = _account_and_alias("account_atomic()")
        block = transaction.atomic(using=alias, **self._options)
        self._block: AbstractContextManager[None] = (
            _recorded(block, alias, account_id) if alias in settings().recorded else block
        )
        self._block.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._block.__exit__(kind, error, at)

    def _recreate_cm(self) -> "_AccountAtomic":
        return _AccountAtomic(**self._options)

    def __call__(self, function: Work) -> Work:
        _refuse_what_goes_on_later(function)
        return super().__call__(function)


@overload
def account_atomic(function: Work, /) -> Work: ...
@overload
def account_atomic(*, savepoint: bool = True, durable: bool = False) -> _AccountAtomic: ...
def account_atomic(
    function: Any = None, /, *, savepoint: bool = True, durable: bool = False
) -> Any:
    """`transaction.atomic` on the shard of the account in force, for a block or a function.

    Raises RoutingError where the block begins outside `account_context`.
    """
    atomic = _AccountAtomic(savepoint, durable)
    return atomic if function is None else atomic(function)


def account_on_commit(action: Callable[[], object], *, robust: bool = False) -> None:
    """Run `action` once the account's own transaction has committed, for the account of now."""
    _, alias = _account_and_alias("account_on_commit()")
    transaction.on_commit(carry(action), using=alias, robust=robust)


@contextmanager
def _recorded(block: AbstractContextManager[None], alias: str, account_id: int) -> Iterator[None]:
    """The block; at its end, and inside it, SQL of the project's own is asked after."""
    with block:
        yield
        heed_own_sql(alias, account_id)


def _account_and_alias(what: str) -> tuple[int, str]:
    account_id = current_account()
    if account_id is None:
        raise RoutingError(
            f"{what} needs an account. Call it inside `with account_context(account_id):`."
        )
    return account_id, shard_of(account_id)


def _refuse_what_goes_on_later(function: Any) -> None:
    """The transaction of a coroutine or a generator would end before its work begins."""
    kinds = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    if any(is_kind(function) for is_kind in kinds):
        raise TypeError(
            f"{function.__qualname__} is no plain function: its transaction would end before its "
            f"work begins. Use `with account_atomic():` inside, or sync_to_async around."
        )

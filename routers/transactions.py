"""The account's own transaction.

`transaction.atomic()` without `using` opens on the catalog, where an account has no rows: it would
protect nothing. This opens on the account's shard.
"""

import inspect
from collections.abc import Callable
from contextlib import ContextDecorator
from types import TracebackType
from typing import Any, TypeVar, overload

from django.db import transaction

from routers.carrying import carry
from routers.context import current_account
from routers.exceptions import RoutingError
from routers.shard_map import shard_of

__all__ = ["account_atomic", "account_on_commit"]

Work = TypeVar("Work", bound=Callable[..., Any])


class _AccountAtomic(ContextDecorator):
    """The account is looked up when the block begins, not when a function is decorated."""

    def __init__(self, savepoint: bool, durable: bool) -> None:
        self._options = {"savepoint": savepoint, "durable": durable}

    def __enter__(self) -> None:
        self._atomic = transaction.atomic(using=_alias("account_atomic()"), **self._options)
        self._atomic.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._atomic.__exit__(kind, error, at)

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
    transaction.on_commit(carry(action), using=_alias("account_on_commit()"), robust=robust)


def _alias(what: str) -> str:
    account_id = current_account()
    if account_id is None:
        raise RoutingError(
            f"{what} needs an account. Call it inside `with account_context(account_id):`."
        )
    return shard_of(account_id)


def _refuse_what_goes_on_later(function: Any) -> None:
    """The transaction of a coroutine or a generator would end before its work begins."""
    kinds = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    if any(is_kind(function) for is_kind in kinds):
        raise TypeError(
            f"{function.__qualname__} is no plain function: its transaction would end before its "
            f"work begins. Use `with account_atomic():` inside, or sync_to_async around."
        )

"""The account's own transaction.

`transaction.atomic()` without `using` opens on the catalog, where an account has no rows: it would
protect nothing. This opens on the account's shard.
"""

from collections.abc import Callable
from typing import Any

from django.db import transaction

from routers.context import current_account
from routers.exceptions import RoutingError
from routers.shard_map import shard_of

__all__ = ["account_atomic", "account_on_commit"]


def account_atomic(*, savepoint: bool = True, durable: bool = False) -> Any:
    """`transaction.atomic` on the shard of the account in force. A context manager.

    Raises RoutingError outside `account_context`.
    """
    return transaction.atomic(
        using=_alias("account_atomic()"), savepoint=savepoint, durable=durable
    )


def account_on_commit(action: Callable[[], object]) -> None:
    """Run `action` once the account's own transaction has committed."""
    transaction.on_commit(action, using=_alias("account_on_commit()"))


def _alias(what: str) -> str:
    account_id = current_account()
    if account_id is None:
        raise RoutingError(
            f"{what} needs an account. Call it inside `with account_context(account_id):`."
        )
    return shard_of(account_id)

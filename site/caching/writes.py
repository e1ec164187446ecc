"""Every write is seen where SQL is executed, and told to the cache around its COMMIT.

Whatever is not known to be a read counts as a write: `save`, `update`, `bulk_create`, cascades,
many-to-many changes, migrations and SQL of one's own through Django's cursors. One in autocommit
gets a transaction of its own, so that its commit has a before and an after.

A function that writes inside a SELECT cannot be seen: `caching.touch()` tells of it, and
`caching.bump()` or `manage.py cache bump` of what was written past Django.
"""

from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from caching.conf import settings
from caching.moments import spoil
from caching.places import is_managed, is_replica
from caching.statements import concerned, is_read
from caching.transactions import Transaction, transaction_of
from routers.context import account_context, current_scope
from routers.exceptions import RoutingError

__all__ = ["bump_account", "bump_database", "touch_account", "watch"]


def watch(sender: object, connection: BaseDatabaseWrapper, **kwargs: object) -> None:
    """Django's `connection_created`: see to it that this connection's writes are told."""
    if connection.vendor != "postgresql" or not settings().enabled:
        return
    if is_replica(connection.alias):
        if _read_replica not in connection.execute_wrappers:
            connection.execute_wrappers.append(_read_replica)
        return
    if not is_managed(connection.alias) or hasattr(connection, "caching_transaction"):
        return
    Transaction(connection).attach()
    connection.execute_wrappers.insert(0, _execute)


def bump_account(account_id: int) -> None:
    """As `caching.bump`."""
    with account_context(account_id):
        touch_account()


def bump_moved(account_id: int, **kwargs: object) -> None:
    """What is kept of an account that has moved is made anew. A receiver of `account_moved`."""
    bump_account(account_id)


def bump_database(alias: str) -> None:
    """Forget what is kept of a whole database."""
    with transaction.atomic(using=alias):
        transaction_of(alias).note(None)


def touch_account() -> None:
    """As `caching.touch`. Raises AccountNotSet without a scope."""
    scope = current_scope()
    if scope is None:
        raise RoutingError(
            "caching.touch() needs an account. Call it inside `with account_context(account_id):`."
        )
    alias = scope.alias()
    with transaction.atomic(using=alias, savepoint=False):
        transaction_of(alias).note(concerned(alias, ""))


def _execute(
    execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    """Django's execute wrapper."""
    if is_read(sql):
        return execute(sql, params, many, context)
    connection = context["connection"]
    places = concerned(connection.alias, sql)
    if connection.in_atomic_block or not connection.autocommit or places == []:
        connection.caching_transaction.note(places)
        return execute(sql, params, many, context)
    with transaction.atomic(using=connection.alias, savepoint=False):
        connection.caching_transaction.note(places)
        return execute(sql, params, many, context)


def _read_replica(execute: Callable[..., Any], *statement: Any) -> Any:
    """Django's execute wrapper: its rows may be older than a token that was read before."""
    spoil()
    return execute(*statement)

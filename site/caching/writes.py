"""Every write is seen where SQL is executed, and told to the cache around its COMMIT.

Whatever is not known to be a read counts as a write: `save`, `update`, `bulk_create`, cascades,
many-to-many changes, migrations and SQL of one's own through Django's cursors. One in autocommit
gets a transaction of its own, so that its commit has a before and an after.

A function that writes inside a SELECT cannot be seen: `caching.touch()` tells of it, and
`caching.bump()` or `manage.py
cache bump` of what was written past Django.
"""

import secrets
from collections.abc import Callable
from typing import Any

from django.db import Error, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from caching import local, service, store
from caching.conf import settings
from caching.moments import spoil
from caching.places import Place, is_managed, is_replica, of_tables
from caching.statements import concerned, concerns, is_read
from caching.wire import RedisAway
from routers.context import account_context, current_scope
from routers.direct import sqlstate
from routers.exceptions import RoutingError

__all__ = [
    "Transaction",
    "bump_account",
    "bump_database",
    "touch_account",
    "transaction_of",
    "watch",
]


class Transaction:
    """What the connection's open transaction has written, and what becomes of it at its end."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.places: set[Place] = set()
        self.everything = False  # of the whole database
        self._commit, self._rollback, self._close = (
            connection._commit,
            connection._rollback,
            connection._close,
        )
        self._savepoint_rollback = connection._savepoint_rollback

    @property
    def is_open(self) -> bool:
        """Whether what is read now is read inside a transaction."""
        return self.connection.in_atomic_block or not self.connection.autocommit

    @property
    def has_written(self) -> bool:
        """Whether anything was written in the open transaction, that is known."""
        return bool(self.places) or self.everything

    @property
    def bypasses(self) -> bool:
        """Whether its reads may see what nobody else sees, or must not see what others do."""
        if self.has_written:
            return True
        return self.is_open and (self.connection.isolation_level or 1) > 1

    def clear(self) -> None:
        """It has ended."""
        self.places.clear()
        self.everything = False

    def commit(self) -> None:
        """COMMIT, with the mark before and what settles it after."""
        if not self.has_written:
            return self._commit()
        writer, places, alias = secrets.token_hex(8), self._together(), self.connection.alias
        marked = [] if self.everything else self._mark(places, writer)
        epoch = service.turn_off(alias) if len(marked) < len(places) or self.everything else None
        local.wait(marked)
        try:
            self._commit()
        except Error as error:
            if sqlstate(error):  # the server says that it was rolled back; else nobody knows
                self._settle(marked, writer)
            raise
        self.clear()
        self._settle(marked, writer)
        if epoch is not None:
            service.acknowledge(alias, epoch)
        return None

    def rollback(self) -> None:
        self._undo()
        self._rollback()

    def savepoint_rollback(self, sid: str) -> None:
        """What was written before it stays written, and is told."""
        if self.has_written:
            spoil()
        self._savepoint_rollback(sid)

    def close(self) -> None:
        self._undo()
        self._close()

    def _undo(self) -> None:
        """What this work has read since it wrote was never committed."""
        if self.has_written:
            spoil()
        self.clear()

    def _together(self) -> list[Place]:
        """The accounts; the tables of the catalog are one place."""
        tables = {name for place in self.places if not place.is_account for name in place.names}
        accounts = [place for place in self.places if place.is_account]
        return [*accounts, *([of_tables(frozenset(tables))] if tables else [])]

    @staticmethod
    def _mark(places: list[Place], writer: str) -> list[Place]:
        """Those that could be marked."""
        marked = []
        try:
            for place in places:
                store.mark(place, writer)
                marked.append(place)
        except RedisAway:
            pass
        return marked

    @staticmethod
    def _settle(places: list[Place], writer: str) -> None:
        """Where Redis is away the mark stays: readers go to the database, and recover later."""
        try:
            for place in places:
                store.settle(place, writer)
        except RedisAway:
            pass


def watch(sender: object, connection: BaseDatabaseWrapper, **kwargs: object) -> None:
    """Django's `connection_created`: see to it that this connection's writes are told."""
    held: Any = connection
    if connection.vendor != "postgresql" or not settings().enabled:
        return
    if is_replica(connection.alias):
        if _read_replica not in connection.execute_wrappers:
            connection.execute_wrappers.append(_read_replica)
        return
    if not is_managed(connection.alias) or hasattr(held, "caching_transaction"):
        return
    held.caching_transaction = watched = Transaction(connection)
    held._commit, held._rollback, held._close = watched.commit, watched.rollback, watched.close
    held._savepoint_rollback = watched.savepoint_rollback
    connection.execute_wrappers.insert(0, _execute)


def transaction_of(alias: str) -> Any:
    """The connection's Transaction; on an engine that is not watched, one that always bypasses.

    A connection that this thread has not opened yet has written nothing, and is not opened for it.
    """
    connection: Any = connections[alias]
    found = connection.__dict__.get("caching_transaction")
    if found is not None:
        return found
    if connection.vendor != "postgresql" or not settings().enabled or not is_managed(alias):
        return UNWATCHED
    if connection.connection is None and connection.settings_dict["AUTOCOMMIT"]:
        return UNOPENED
    connection.ensure_connection()
    return connection.__dict__.get("caching_transaction", UNWATCHED)


class _Unwatched:
    bypasses = is_open = True


class _Unopened:
    bypasses = is_open = False


UNWATCHED, UNOPENED = _Unwatched(), _Unopened()


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
        held: Any = transaction_of(alias)
        if isinstance(held, Transaction):
            held.everything = True


def touch_account() -> None:
    """As `caching.touch`. Raises AccountNotSet without a scope."""
    scope = current_scope()
    if scope is None:
        raise RoutingError(
            "caching.touch() needs an account. Call it inside `with account_context(account_id):`."
        )
    alias = scope.alias()
    with transaction.atomic(using=alias, savepoint=False):
        held: Any = transaction_of(alias)
        if isinstance(held, Transaction):
            _note(held.connection, "")


def _execute(
    execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    """Django's execute wrapper."""
    if is_read(sql):
        return execute(sql, params, many, context)
    connection = context["connection"]
    if connection.in_atomic_block or not connection.autocommit:
        _note(connection, sql)
        return execute(sql, params, many, context)
    if not concerns(connection.alias, sql):
        return execute(sql, params, many, context)
    with transaction.atomic(using=connection.alias, savepoint=False):
        _note(connection, sql)
        return execute(sql, params, many, context)


def _read_replica(execute: Callable[..., Any], *statement: Any) -> Any:
    """Django's execute wrapper: its rows may be older than a token that was read before."""
    spoil()
    return execute(*statement)


def _note(connection: Any, sql: Any) -> None:
    written: Transaction | None = connection.__dict__.get("caching_transaction")
    if written is None:
        return
    places = concerned(connection.alias, sql)
    if places is None:
        written.everything = True
    else:
        written.places.update(places)

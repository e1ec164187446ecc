"""Connections on which nothing can be written, for reads over several shards."""

import math
import os
import select
import socket
from collections import defaultdict
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.db import Error, InterfaceError, OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from routers.deadline import CONNECT_SECONDS, deadline

__all__ = ["ApartConnection", "ThreadsConnection", "is_away", "readable_apart"]

Rows = Generator[Any, None, None]

READ_ONLY = "SET TRANSACTION READ ONLY"
GRACE_SECONDS = 1.0  # what the server may take to say itself that its time is up
CLOSING_SECONDS = 1.0
NOTICED_MS = 1000  # until the server ends a query whose client has gone
MAX_CONNECT_SECONDS = 5  # nothing can interrupt it
IDLE_CONNECTIONS = 4  # kept for each shard, for as long as CONN_MAX_AGE says


def readable_apart(alias: str) -> bool:
    """Whether another thread may read the shard: see `ThreadsConnection` for where it may not."""
    connection = connections[alias]
    return connection.vendor == "postgresql" and not connection.in_atomic_block


def is_away(alias: str, error: Error) -> bool:
    """Whether the error says that the server is away or too slow, not that the query is wrong."""
    if connections[alias].vendor == "postgresql":
        return isinstance(error, OperationalError | InterfaceError)
    return connections[alias].connection is None


class ThreadsConnection:
    """The calling thread's own, in the transaction that it has open: it sees its own writes.

    That transaction's timeouts hold, and it can be written again after each step.
    """

    def __init__(self, alias: str) -> None:
        self._alias = alias

    @contextmanager
    def step(self) -> Iterator[None]:
        """Let the block read."""
        connection = connections[self._alias]
        with connection.cursor() as cursor:
            if connection.vendor == "sqlite":
                cursor.execute("PRAGMA query_only = ON")
                try:
                    yield
                finally:
                    cursor.execute("PRAGMA query_only = OFF")
                return
            # Read-only is the savepoint's alone: it ends with it.
            with transaction.atomic(using=self._alias):
                cursor.execute(READ_ONLY)
                yield

    def hang_up(self) -> None:
        """Nothing runs while the calling thread does something else."""

    def close(self, rows: Rows | None, *, finished: bool) -> None:
        """Close the cursor of the rows; the connection stays as it was."""
        if rows is not None:
            with suppress(Error):  # the cursor went with a transaction that was rolled back
                rows.close()


class ApartConnection:
    """A connection beside those of any thread, on which every statement is read-only and bounded.

    `seconds` is how long the server may take for one step. Of several steps, the first begins a
    transaction, which is open until `close`. With `once` there is one step and no transaction:
    each statement is sent in one message with what makes it read-only, and is over with its
    answer (a prefetch is a statement of its own). Made in the calling thread, used by one thread
    at a time.
    """

    def __init__(self, alias: str, seconds: float, *, once: bool) -> None:
        self._alias, self._seconds, self._once = alias, seconds, once
        self._template: BaseDatabaseWrapper = connections[alias]
        self._connection: BaseDatabaseWrapper | None = None
        self._first = (
            f"{READ_ONLY}; SET LOCAL statement_timeout = {math.ceil(seconds * 1000)};"
            f" SET LOCAL client_connection_check_interval = {NOTICED_MS}"
        )

    @contextmanager
    def step(self) -> Iterator[None]:
        """Let the block read, with this as the thread's connection to the shard."""
        is_first = self._connection is None
        if is_first:
            self._connection = self._open()
        connection: Any = self._connection
        connections[self._alias] = connection
        try:
            with deadline(connection, self._seconds + GRACE_SECONDS):
                if self._once:
                    with connection.execute_wrapper(self._prefixed):
                        yield
                    return
                if is_first:
                    self._begin(connection)
                yield
        finally:
            del connections[self._alias]
            connections.close_all()  # of this thread: a prefetch may have gone to the catalog

    def hang_up(self) -> None:
        """End the step that is running in another thread; the server notices within a second.

        Not the driver's cancel(): it keeps the whole process waiting for a server that is frozen.
        """
        raw: Any = self._connection.connection if self._connection else None
        with suppress(Exception), socket.socket(fileno=os.dup(raw.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)  # or it is being made, or ends at this instant

    def close(self, rows: Rows | None, *, finished: bool) -> None:
        """End the transaction; give back the connection if all was read. Twice is once."""
        connection, self._connection = self._connection, None
        if connection is None or connection.connection is None:
            return
        # Whatever goes wrong here, the connection is thrown away.
        with suppress(Exception), deadline(connection, CLOSING_SECONDS):
            if not self._once:
                connection.rollback()
                connection.set_autocommit(True)
            if finished:
                _give_back(connection)
                return
        connection.close()
        if rows is not None:
            rows.close()  # and not before: it would ask a server that may be away

    def _open(self) -> BaseDatabaseWrapper:
        return _idle_connection(self._alias) or _new_connection(self._template, self._seconds)

    def _begin(self, connection: BaseDatabaseWrapper) -> None:
        connection.set_autocommit(False)
        with connection.cursor() as cursor:
            cursor.execute(self._first)

    def _prefixed(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        """Statements in one message are one transaction, and each has a time-out of its own."""
        return execute(f"{self._first}; {sql}", params, many, context)


_idle: dict[str, list[BaseDatabaseWrapper]] = defaultdict(list)
os.register_at_fork(after_in_child=_idle.clear)


def _idle_connection(alias: str) -> BaseDatabaseWrapper | None:
    with suppress(IndexError):
        while True:
            connection: Any = _idle[alias].pop()
            connection.close_if_unusable_or_obsolete()
            if connection.connection is not None and _is_alive(connection.connection):
                connection.health_check_done = True  # that was it
                return connection
            connection.close()
    return None


def _is_alive(raw: Any) -> bool:
    """Whether the other end has neither closed it nor died: it is readable then.

    A notice makes it so too, and costs a new connection.
    """
    if raw.closed:
        return False
    line = select.poll()  # select() takes no descriptor above 1023
    line.register(raw.fileno(), select.POLLIN)
    return not line.poll(0)


def _give_back(connection: BaseDatabaseWrapper) -> None:
    connection.close_if_unusable_or_obsolete()
    if connection.connection is not None:
        _idle[connection.alias].append(connection)
        if len(_idle[connection.alias]) > IDLE_CONNECTIONS:
            _idle[connection.alias].pop(0).close()


def _new_connection(template: BaseDatabaseWrapper, seconds: float) -> BaseDatabaseWrapper:
    connection = template.copy()
    connection.inc_thread_sharing()
    connection.settings_dict["AUTOCOMMIT"] = True  # a transaction is only begun by `step`
    options = connection.settings_dict["OPTIONS"]
    longest = max(CONNECT_SECONDS, min(math.ceil(seconds), MAX_CONNECT_SECONDS))
    options["connect_timeout"] = min(longest, options.get("connect_timeout", longest))
    return connection

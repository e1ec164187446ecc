"""A client-side deadline for work on a database, which a frozen server cannot outlast.

A server that is stopped but not dead (SIGSTOP, a stuck disk, a network that swallows packets) keeps
its sockets open: the driver would wait for hours. One thread a process shuts the socket of every
connection whose deadline has passed, and the driver raises at once, as if the server had died.
"""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = ["deadline", "is_own", "own_connection"]

TICK_SECONDS = 0.1
CONNECT_SECONDS = 2  # libpq's own minimum


class _Guard:
    """Shuts sockets at their time. `watch` and `release` together cost about 3 microseconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watched: dict[int, float] = {}
        self._thread: threading.Thread | None = None

    def watch(self, connection: int, seconds: float) -> int:
        """Watch a socket by a descriptor of its own, which is returned: `release` it."""
        watched = os.dup(connection)
        self._watched[watched] = time.monotonic() + seconds
        if self._thread is None:
            self._start()
        return watched

    def release(self, watched: int) -> None:
        """The descriptor is closed under the lock, so that nobody shuts another with its number."""
        with self._lock:
            del self._watched[watched]
            os.close(watched)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                name = "routers-deadline"
                self._thread = threading.Thread(target=self._run, name=name, daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            time.sleep(TICK_SECONDS)
            with self._lock:
                for watched, until in list(self._watched.items()):
                    if until < time.monotonic():
                        _shut(watched)


def _shut(watched: int) -> None:
    with suppress(OSError), socket.socket(fileno=os.dup(watched)) as shutting:
        shutting.shutdown(socket.SHUT_RDWR)  # an OSError: shut already, or by the other end


_guard = _Guard()


def _forget() -> None:
    """A forked child has none of its parent's threads, and its locks may be held for ever."""
    global _guard
    _guard = _Guard()


os.register_at_fork(after_in_child=_forget)


@contextmanager
def deadline(connection: BaseDatabaseWrapper, seconds: float) -> Iterator[None]:
    """Let the block use the connection for so long; then it is broken off, and the driver raises.

    Opening it is not covered: that is `connect_timeout`. Nothing is watched on SQLite. Whoever
    catches the error closes the connection.
    """
    connection.ensure_connection()
    fileno = getattr(connection.connection, "fileno", None)
    if fileno is None:
        yield
        return
    guard = _guard
    watched = guard.watch(fileno(), seconds)
    try:
        yield
    finally:
        guard.release(watched)


@contextmanager
def own_connection(alias: str, seconds: float) -> Iterator[BaseDatabaseWrapper]:
    """A connection beside the thread's own, open for the block and for `seconds` at most."""
    connection = connections[alias].copy()
    connection.is_own = True  # type: ignore[attr-defined]
    if connection.vendor == "postgresql":
        connection.settings_dict["OPTIONS"]["connect_timeout"] = CONNECT_SECONDS
    try:
        with deadline(connection, seconds):
            yield connection
    finally:
        connection.close()


def is_own(connection: BaseDatabaseWrapper) -> bool:
    """Whether the connection was made by `own_connection`: no application's query runs there."""
    return getattr(connection, "is_own", False)

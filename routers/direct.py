"""A database's own connection for work on its schema: direct, with time-outs, one run at a time.

Session state (time-outs, an advisory lock) lives here and nowhere else in the library, so this
connection must reach PostgreSQL itself: behind a transaction pooler the settings would fall on
strangers, and the lock would stay on a server connection that nobody ends. The lock cannot strand:
it dies with its connection, and the server is told to notice within seconds that a client is gone.

SQLite needs no lock of ours: its own lets one process write at a time.
"""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Event

from django.db import Error, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from routers.exceptions import RoutingError

__all__ = [
    "LOCK_CLASS",
    "DatabaseBusy",
    "Limits",
    "ReachedThroughPooler",
    "Stopped",
    "exclusive",
    "introduce",
    "lock_not_had",
    "refuse_pooler",
    "set_limits",
    "sqlstate",
]

LOCK_CLASS = 0x726F7574  # "rout": the first half of every advisory lock of this library
MIGRATING = 1
POLL_SECONDS = (0.1, 0.2, 0.5, 1.0)  # then every second
LOCK_NOT_AVAILABLE, DEADLOCK = "55P03", "40P01"

HOLDER = """
    SELECT a.pid, a.application_name, to_char(a.backend_start, 'YYYY-MM-DD HH24:MI:SS TZ'),
           a.usename
    FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE l.locktype = 'advisory' AND l.classid = %s AND l.objid = %s AND l.granted
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


class ReachedThroughPooler(RoutingError):
    """Work on a schema came through a pooler."""


class DatabaseBusy(RoutingError):
    """Another run has been migrating that database all the time that we waited."""


class Stopped(RoutingError):
    """The run was asked to stop before it had this database."""


@dataclass(frozen=True)
class Limits:
    """Seconds: to get a table's lock, for one statement (0: any), to wait for another run."""

    lock_timeout: float = 5
    statement_timeout: float = 0
    wait: float = 60


@contextmanager
def exclusive(
    alias: str, limits: Limits, purpose: str, stop: Event
) -> Iterator[BaseDatabaseWrapper]:
    """This thread's connection to that database, while no other run migrates it; closed afterwards.

    Raises ReachedThroughPooler; DatabaseBusy when `limits.wait` is over; Stopped by `stop`.
    """
    connection = connections[alias]
    try:
        refuse_pooler(connection)
        if connection.vendor == "postgresql":
            introduce(connection, purpose)
            _take_lock(connection, limits.wait, stop)
        set_limits(connection, limits)
        yield connection
    finally:
        connection.close()


def refuse_pooler(connection: BaseDatabaseWrapper) -> None:
    """Raise ReachedThroughPooler unless the process that answers is the one that was connected to.

    PostgreSQL tells a client the backend's pid when it connects, for cancelling; a pooler tells a
    number of its own, and pg_backend_pid() contradicts it. One query, and no false alarm behind
    NAT, a port mapping or a proxy that only forwards bytes.
    """
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        if cursor.fetchone()[0] != _announced_pid(connection):
            at = "{HOST}:{PORT}".format(**connection.settings_dict)
            raise ReachedThroughPooler(
                f"{connection.alias} is reached through a pooler ({at}). Migrations need "
                f"PostgreSQL itself: run the command with settings whose DATABASES name its own "
                f"host and port, and the role that owns the tables."
            )


def set_limits(connection: BaseDatabaseWrapper, limits: Limits) -> None:
    """Set the time-outs on this session, whatever role or migration set before."""
    lock_ms, statement_ms = (
        int(1000 * seconds) for seconds in (limits.lock_timeout, limits.statement_timeout)
    )
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(f"PRAGMA busy_timeout = {lock_ms}")
        else:
            cursor.execute(
                f"SET lock_timeout = {lock_ms}; SET statement_timeout = {statement_ms}"
            )  # routers: allow W107 - not behind a pooler


def lock_not_had(error: BaseException) -> bool:
    """Whether the same statement may succeed a moment later: somebody else had the lock."""
    if sqlstate(error) in (LOCK_NOT_AVAILABLE, DEADLOCK):
        return True
    return isinstance(error, OperationalError) and "database is locked" in str(error)


def sqlstate(error: BaseException) -> str | None:
    """PostgreSQL's code behind one of Django's database errors, by psycopg2 or psycopg."""
    cause = error.__cause__
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)


def _announced_pid(connection: BaseDatabaseWrapper) -> int:
    pid: int = connection.connection.info.backend_pid
    return pid


def introduce(connection: BaseDatabaseWrapper, purpose: str) -> None:
    """Say who we are to whoever looks at pg_stat_activity, and be missed soon when we are gone."""
    name = f"{purpose} {socket.gethostname()}:{os.getpid()}"[:63]
    with connection.cursor() as cursor:
        cursor.execute(
            "SET application_name = %s", [name]
        )  # routers: allow W107 - not behind a pooler
        cursor.execute(
            "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10"
        )  # routers: allow W107 - not behind a pooler
        # Without it a backend at a long statement learns of a killed client only at its end.
        # Since PostgreSQL 14, and not on every system: a server without it is only slower to see.
        with suppress(Error):
            cursor.execute(
                "SET client_connection_check_interval = '2s'"
            )  # routers: allow W107 - not behind a pooler


def _take_lock(connection: BaseDatabaseWrapper, wait: float, stop: Event) -> None:
    """By asking again and again: who waits inside a statement holds up other people's indexes."""
    deadline, pauses = time.monotonic() + wait, iter(POLL_SECONDS)
    with connection.cursor() as cursor:
        while True:
            cursor.execute(
                "SELECT pg_try_advisory_lock(%s, %s)", [LOCK_CLASS, MIGRATING]
            )  # routers: allow W106 - not behind a pooler
            if cursor.fetchone()[0]:
                return
            if time.monotonic() >= deadline:
                cursor.execute(HOLDER, [LOCK_CLASS, MIGRATING])
                raise DatabaseBusy(_busy(connection.alias, wait, cursor.fetchone()))
            if stop.wait(next(pauses, POLL_SECONDS[-1])):
                raise Stopped(f"{connection.alias} was not begun: another run was migrating it.")


def _busy(alias: str, wait: float, holder: tuple[int, str, str, str] | None) -> str:
    if holder is None:
        return f"{alias} was being migrated by another run, which has just ended. Run again."
    pid, name, since, role = holder
    return (
        f"{alias} is being migrated by another run, for more than {wait:g} s: PostgreSQL's process "
        f"{pid}, {name or 'without a name'!r}, connected since {since} as {role}. Let it finish "
        f"and run again, or wait longer with --wait; if nobody wants it, end it there by "
        f"SELECT pg_terminate_backend({pid})."
    )

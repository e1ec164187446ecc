"""One connection for each thread to each Redis server: short waits, no retries.

A server that does not answer is left alone for a while by whoever can do without it (`RedisAway` is
raised at once), so that a slow one costs one reader of a process, and not every one. One that
answers that it will not (it is full, the login may not write) is no slower for that and still has
hits, so it is not left alone.
"""

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import hiredis
import redis
from redis.exceptions import NoPermissionError, RedisClusterException

from caching.clock import now
from caching.conf import settings
from caching.servers import servers

__all__ = ["AWAY", "NO_SCRIPT", "RedisAway", "Wire", "forget", "is_resting", "slot_of", "wire"]


RECEIVED = 65536  # bytes at once
AWAY = (redis.RedisError, hiredis.HiredisError, RedisClusterException, OSError)
TIMEOUTS = (redis.TimeoutError, TimeoutError)
REFUSALS = ("OOM", "NOPERM", "MISCONF", "NOREPLICAS")

Command = Callable[[str], tuple[Any, ...]]
"""A command for the server of that run: its keys name it, and have one slot, in braces."""

NO_SCRIPT = object()
"""What `Wire.call` returns for EVALSHA of a script that the server has not seen."""


class RedisAway(Exception):
    """Redis does not answer, refuses, answers nonsense, or has not answered a moment ago."""


class Line:
    """A connection. `run` is the life of the server at its other end.

    A server that was started again, or another one after a failover, has another `run`. It is in
    every key, so an older copy of the data is never believed.
    """

    def __init__(self, connection: Any) -> None:
        self._connection, self._checked = connection, now()
        try:
            connection.connect()
            self.run = _run_of(connection)
        except BaseException:
            connection.disconnect()
            raise
        self._socket, self._reader = connection._sock, hiredis.Reader()

    def exchange(self, command: Command) -> Any:
        """Past redis-py, which takes as long for one command as Redis does."""
        if self._checked + settings().lease_seconds < now():
            self._check()
        return self._answer(command(self.run))

    def _check(self) -> None:
        """Raises what redis-py raises where its server is not, or may not be, the primary now.

        Once in LEASE_SECONDS: a former primary that nobody cut off from us is believed no longer.
        """
        self._checked = servers().confirmed(self._connection)
        if b"role:master" not in self._answer(("INFO", "replication")):
            raise redis.ReadOnlyError("this Redis is a replica now")

    def _answer(self, told: tuple[Any, ...]) -> Any:
        reader = self._reader
        self._socket.sendall(hiredis.pack_command(told))
        answer = reader.gets()
        while answer is False:
            received = self._socket.recv(RECEIVED)
            if not received:
                raise redis.ConnectionError("Redis has hung up")
            reader.feed(received)
            answer = reader.gets()
        if not isinstance(answer, hiredis.ReplyError):
            return answer
        if str(answer).startswith("NOSCRIPT"):
            return NO_SCRIPT
        raise redis.ResponseError(str(answer))

    def close(self) -> None:
        self._connection.disconnect()

    def __del__(self) -> None:
        """Of a thread that has ended."""
        if hasattr(self, "_connection"):
            self.close()


class Wire:
    """A thread's lines."""

    def __init__(self) -> None:
        self._lines: dict[str, Line] = {}

    def call(self, command: Command, *, urgent: bool = False) -> Any:
        """Redis' answer to the command for the run that is connected to; NO_SCRIPT.

        Raises RedisAway; `urgent` tries even where others have just failed. A kept line may have
        died with an earlier server, so a broken one is made anew once.
        """
        try:
            return self._call(command, urgent)
        except _Again:
            return self._call(command, urgent, is_last=True)

    def close(self) -> None:
        """Hang up; the next call connects."""
        for key in list(self._lines):
            self._lines.pop(key).close()

    def _call(self, command: Command, urgent: bool, *, is_last: bool = False) -> Any:
        key, kept = "", None
        try:
            self._check(key, urgent)
            where = servers()
            slot = ""
            if where.is_many:
                slot = slot_of(command)
                key = where.key(slot)
                self._check(key, urgent)
            kept = self._lines.get(key)
            line = kept
            if line is None:
                line = self._lines[key] = Line(where.connection(slot))
            return line.exchange(command)
        except AWAY as error:
            if str(error).startswith(REFUSALS):
                raise RedisAway(str(error)) from error
            self._hang_up(key)
            is_old = kept is not None and not isinstance(error, TIMEOUTS)
            if not is_last and (is_old or _has_moved(error)):
                raise _Again from error
            _rests[key] = now() + settings().rest_seconds
            raise RedisAway(str(error)) from error

    @staticmethod
    def _check(key: str, urgent: bool) -> None:
        if not urgent and _rests.get(key, 0.0) > now():
            raise RedisAway("it has not answered a moment ago")

    def _hang_up(self, key: str) -> None:
        line = self._lines.pop(key, None)
        if line is not None:
            line.close()
        with suppress(*AWAY):
            servers().moved()


class _Again(Exception):
    """The line was an old one: a new one may work."""


_rests: dict[str, float] = {}  # server → until when it is left alone


def wire() -> Wire:
    """This thread's."""
    held: Wire | None = getattr(_local, "wire", None)
    if held is None:
        held = _local.wire = Wire()
    return held


def is_resting() -> bool:
    """Whether a Redis is left alone at the moment."""
    return any(until > now() for until in list(_rests.values()))


def forget() -> None:
    """Leave this thread's connections, and try Redis again at once: for tests, and after a fork."""
    global _local
    held: Wire | None = getattr(_local, "wire", None)
    if held is not None:
        held.close()
    _local = threading.local()
    _rests.clear()


def _run_of(connection: Any) -> str:
    """Raises redis.RedisError for a replica, which may lag behind, and where INFO is not allowed.

    A server whose run is not known could not be told from one with an older copy of its data.
    """
    said = f"{_info(connection, 'server')}\n{_info(connection, 'replication')}"
    facts = dict(line.split(":", 1) for line in said.splitlines() if ":" in line)
    if facts.get("role") != "master":
        raise redis.ReadOnlyError("this Redis is a replica")
    return facts["run_id"][:12]


def _info(connection: Any, section: str) -> str:
    connection.send_command("INFO", section)
    try:
        answer = connection.read_response()
    except NoPermissionError as error:
        text = "the login may not run INFO, and which run is it?"
        raise redis.AuthenticationError(text) from error
    return answer.decode() if isinstance(answer, bytes) else str(answer)


def slot_of(command: Command) -> str:
    """What the command's keys have in braces."""
    parts = command("")
    first = parts[3] if parts[0] in ("EVALSHA", "EVAL") else parts[1]
    return str(first).partition("{")[2].partition("}")[0]


def _has_moved(error: Exception) -> bool:
    return str(error).startswith("MOVED")


_local = threading.local()
os.register_at_fork(after_in_child=forget)

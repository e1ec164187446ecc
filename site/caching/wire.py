"""One connection to Redis for each thread, from django-redis' pool: short waits, no retries.

A Redis that does not answer is left alone for a while by whoever can do without it (`RedisAway` is
raised at once), so that a slow one costs one reader of a process, and not every one.
"""

import os
import threading
from collections.abc import Callable
from typing import Any

import hiredis
import redis
from django.core.cache import caches
from django_redis.cache import RedisCache
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError
from redis.retry import Retry

from caching.clock import now
from caching.conf import settings

__all__ = ["RedisAway", "Wire", "forget", "is_resting", "wire"]


RECEIVED = 65536  # bytes at once
AWAY = (redis.RedisError, hiredis.HiredisError, OSError)

Command = Callable[[str], tuple[Any, ...]]
"""A command for the server of that run: its keys name it."""


class RedisAway(Exception):
    """Redis does not answer, answers nonsense, or has not answered a moment ago."""


class _Rest:
    until = 0.0


class Wire:
    """A thread's connection. `run` is the life of the server at its other end.

    A server that was started again, or another one after a failover, has another `run`. It is in
    every key, so an older copy of the data is never believed. "" where the server does not tell.
    """

    def __init__(self) -> None:
        self.run = ""
        self._connection: Any = None
        self._socket: Any = None
        self._reader: Any = None

    def call(self, command: Command, *, urgent: bool = False) -> Any:
        """Redis' answer to the command for the run that is connected to; NO_SCRIPT.

        Raises RedisAway; `urgent` tries even where others have just failed. A kept connection may
        have died with an earlier server, so a broken one is made anew once.
        """
        if not urgent and _Rest.until > now():
            raise RedisAway
        kept = self._connection is not None
        try:
            return self._exchange(command)
        except AWAY as error:
            self.close()
            if isinstance(error, redis.TimeoutError | TimeoutError) or not kept:
                raise self._away(error) from error
        try:
            return self._exchange(command)
        except AWAY as error:
            self.close()
            raise self._away(error) from error

    def close(self) -> None:
        """Hang up; the next call connects."""
        connection, self._connection = self._connection, None
        self._socket = self._reader = None
        if connection is not None:
            connection.disconnect()

    def _exchange(self, command: Command) -> Any:
        """Past redis-py, which takes as long for one command as Redis does."""
        if self._connection is None:
            self._connect()
        reader = self._reader
        self._socket.sendall(hiredis.pack_command(command(self.run)))
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

    def _connect(self) -> None:
        pool = _client().connection_pool
        options = {
            **pool.connection_kwargs,
            "retry": Retry(NoBackoff(), 0),
            "socket_timeout": settings().answer_seconds,
            "socket_connect_timeout": settings().answer_seconds,
            "protocol": 2,  # one answer for each command, and nothing else
        }
        connection = pool.connection_class(**options)  # this thread's, so not one of the pool's
        connection.connect()
        self.run = _run_of(connection)
        self._socket, self._reader = connection._sock, hiredis.Reader()
        self._connection = connection

    @staticmethod
    def _away(error: BaseException) -> RedisAway:
        _Rest.until = now() + settings().rest_seconds
        return RedisAway(str(error))


NO_SCRIPT = object()
"""What `Wire.call` returns for EVALSHA of a script that the server has not seen."""


def wire() -> Wire:
    """This thread's."""
    held: Wire | None = getattr(_local, "wire", None)
    if held is None:
        held = _local.wire = Wire()
    return held


def is_resting() -> bool:
    """Whether Redis is left alone at the moment."""
    return _Rest.until > now()


def forget() -> None:
    """Leave this thread's connection, and try Redis again at once: for tests, and after a fork."""
    global _local
    held: Wire | None = getattr(_local, "wire", None)
    if held is not None:
        held.close()
    _local = threading.local()
    _Rest.until = 0.0


def _client() -> Any:
    cache = caches[settings().cache]
    if not isinstance(cache, RedisCache):
        raise TypeError(
            f"CACHING['CACHE'] names {settings().cache!r}, which is {type(cache).__name__}. It "
            f"needs django_redis.cache.RedisCache; without Redis, leave CACHING out."
        )
    return cache.client.get_client(write=True)


def _run_of(connection: Any) -> str:
    connection.send_command("INFO", "server")
    try:
        lines = connection.read_response()
    except NoPermissionError:
        return ""
    text = lines.decode() if isinstance(lines, bytes) else str(lines)
    found = [line for line in text.splitlines() if line.startswith("run_id:")]
    return found[0].partition(":")[2][:12] if found else ""


_local = threading.local()
os.register_at_fork(after_in_child=forget)

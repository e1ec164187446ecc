"""One connection to a Redis primary: a command, its answer, and nothing between."""

from collections.abc import Callable
from typing import Any

import hiredis
import redis
from redis.exceptions import NoPermissionError

from caching.clock import now
from caching.conf import settings
from caching.servers import servers

__all__ = ["NO_SCRIPT", "Command", "Line"]

RECEIVED = 65536  # bytes at once

Command = Callable[[str], tuple[Any, ...]]
"""A command for the server of that run: its keys name it, and have one slot, in braces."""

NO_SCRIPT = object()
"""The answer to EVALSHA of a script that the server has not seen."""


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

"""One connection for each thread to each Redis server: short waits, no retries.

A server that does not answer is left alone for a while by whoever can do without it (`RedisAway` is
raised at once), so that a slow one costs one reader of a process, and not every one. One that
answers that it will not (it is full, the login may not write) is no slower for that and still has
hits, so it is not left alone.
"""

import os
import threading
from contextlib import suppress
from typing import Any

import hiredis
import redis
from redis.exceptions import RedisClusterException

from caching.clock import now
from caching.conf import settings
from caching.line import NO_SCRIPT, Command, Line
from caching.servers import servers

__all__ = ["AWAY", "NO_SCRIPT", "RedisAway", "Wire", "forget", "is_resting", "slot_of", "wire"]


AWAY = (redis.RedisError, hiredis.HiredisError, RedisClusterException, OSError)
TIMEOUTS = (redis.TimeoutError, TimeoutError)
REFUSALS = ("OOM", "NOPERM", "MISCONF", "NOREPLICAS")


class RedisAway(Exception):
    """Redis does not answer, refuses, answers nonsense, or has not answered a moment ago."""


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


def slot_of(command: Command) -> str:
    """What the command's keys have in braces."""
    parts = command("")
    first = parts[3] if parts[0] in ("EVALSHA", "EVAL") else parts[1]
    return str(first).partition("{")[2].partition("}")[0]


def _has_moved(error: Exception) -> bool:
    return str(error).startswith("MOVED")


_local = threading.local()
os.register_at_fork(after_in_child=forget)

"""Connections to one Redis server, with short waits and without redis-py's retries."""

from typing import Any

from redis.backoff import NoBackoff
from redis.retry import Retry

from caching.clock import now
from caching.conf import settings

__all__ = ["OneServer", "connection_of", "short_waits"]


def connection_of(kind: Any, options: dict[str, Any]) -> Any:
    """One of redis-py's, of that kind, which is not connected yet."""
    # Protocol 2: one answer for each command, and nothing else.
    return kind(**{**options, **short_waits(), "protocol": 2})


def short_waits() -> dict[str, Any]:
    """As redis-py's options."""
    seconds = settings().answer_seconds
    waits = {"socket_timeout": seconds, "socket_connect_timeout": seconds}
    return {**waits, "retry": Retry(NoBackoff(), 0)}


class OneServer:
    """As `caching.servers.Servers`."""

    kind = "one server"
    is_many = False

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def key(self, slot: str) -> str:
        return ""

    def connection(self, slot: str) -> Any:
        return connection_of(self._pool.connection_class, self._pool.connection_kwargs)

    def names(self) -> list[str]:
        made = self.connection("")
        return [getattr(made, "path", None) or f"{made.host}:{made.port}"]

    def slots(self) -> list[str]:
        return [""]

    def confirmed(self, connection: Any) -> float:
        return now()

    def moved(self) -> None:
        """It is the only one."""

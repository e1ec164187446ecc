"""What processes tell each other on Redis: that there is a new map, and which one each has.

Nothing depends on it: a lost announcement is made good by the watcher's look at the catalog.
"""

import logging
import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from routers.conf import settings

if TYPE_CHECKING:
    import redis

__all__ = ["Line", "announce", "known_versions", "redis_errors"]

CHANNEL = "routers:map"
SEEN = "routers:map:seen:"
SEEN_SECONDS = 15
ANSWER_SECONDS = 0.5

logger = logging.getLogger(__name__)


class Line:
    """A subscription to announcements. Its methods raise `redis_errors()`, within a second."""

    def __init__(self) -> None:
        self._client = _client()
        self._pubsub = self._client.pubsub()
        self._pubsub.subscribe(CHANNEL)
        self._me = f"{SEEN}{socket.gethostname()}:{os.getpid()}"

    def announced(self, seconds: float, *, held: int) -> int:
        """Wait so long for an announcement; its version, or 0. Says that this process has `held`.

        A frozen Redis is found by that, at once.
        """
        self._client.set(self._me, held, ex=SEEN_SECONDS)
        message = self._pubsub.get_message(ignore_subscribe_messages=True, timeout=seconds)
        return int(message["data"]) if message else 0

    def close(self) -> None:
        """Hang up."""
        with suppress(*redis_errors()):
            self._pubsub.close()
            self._client.close()


def announce(version: int) -> None:
    """Tell every process of a new version. Without Redis they find it by themselves in a second."""
    if settings().map_redis is None:
        return
    try:
        with _client() as client:
            client.publish(CHANNEL, version)
    except redis_errors() as error:
        logger.warning("Version %d of the map is not announced, Redis is away: %s", version, error)


def known_versions() -> dict[str, int]:
    """host:pid → version of the map, of every process that watches. Raises redis.RedisError."""
    if settings().map_redis is None:
        return {}
    with _client() as client:
        keys = sorted(client.scan_iter(f"{SEEN}*", count=1000))
        versions = client.mget(keys) if keys else []
    pairs = zip(keys, versions, strict=True)
    return {str(key).removeprefix(SEEN): int(value) for key, value in pairs if value is not None}


def _client() -> "redis.Redis":
    import redis  # only projects with SHARDING["MAP_REDIS"] need it

    return redis.Redis.from_url(
        settings().map_redis or "",
        socket_connect_timeout=ANSWER_SECONDS,
        socket_timeout=ANSWER_SECONDS,
        decode_responses=True,
        retry=None,
    )


def redis_errors() -> tuple[type[Exception], ...]:
    """What a Redis that is away raises."""
    import redis

    return OSError, redis.RedisError

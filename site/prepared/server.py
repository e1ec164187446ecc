"""The cache's Redis, asked at once or not at all."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

import redis
from django.core.cache import caches
from django_redis.cache import RedisCache

__all__ = ["Away", "ask", "forget"]

REST_SECONDS = 1.0

T = TypeVar("T")


class Away(Exception):
    """Redis does not answer, has not answered just now, or the site runs without it."""


class _Breaker:
    """Keeps everybody from waiting for what one has found away. `until`: time.monotonic()."""

    until = 0.0


def ask(work: Callable[[Any], T]) -> T:
    """What `work` gets from redis-py's client. Raises Away.

    For a second after it was found away, Redis is not asked at all.
    """
    if _Breaker.until > time.monotonic():
        raise Away("Redis was away a moment ago.")
    try:
        return work(_client())
    except (redis.RedisError, OSError) as error:
        _Breaker.until = time.monotonic() + REST_SECONDS
        raise Away(f"Redis is away: {error}") from error


def forget() -> None:
    """Ask again, whatever was found."""
    _Breaker.until = 0.0


def _client() -> Any:
    cache = caches["default"]
    if not isinstance(cache, RedisCache):
        raise Away("CACHES has no Redis.")
    return cache.client.get_client(write=True)

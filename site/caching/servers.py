"""The Redis servers that CACHES has for CACHING["CACHE"]: one, Sentinel's, or a Cluster's.

    one       "LOCATION": "redis://host:6379/0"
    Sentinel  "LOCATION": "redis://<name of the set>/0", "OPTIONS": {
                  "CLIENT_CLASS": "django_redis.client.SentinelClient",
                  "CONNECTION_FACTORY": "django_redis.pool.SentinelConnectionFactory",
                  "SENTINELS": [("host", 26379), …]}
    Cluster   "LOCATION": "redis://<any node>:6379", "OPTIONS": {
                  "CONNECTION_FACTORY": "caching.servers.ClusterFactory"}

Connections are made to primaries alone.
"""

from functools import cache
from typing import Any, Protocol

from django.core.cache import caches
from django.core.signals import setting_changed
from django_redis.cache import RedisCache
from redis.cluster import RedisCluster
from redis.sentinel import SentinelConnectionPool

from caching.conf import settings
from caching.redis_cluster import ClusterFactory, ClusterServers
from caching.redis_one import OneServer
from caching.redis_sentinel import SentinelServers

__all__ = ["ClusterFactory", "Servers", "servers"]


class Servers(Protocol):
    """`kind`: in words, for people. `is_many`: whether it depends on the slot which one it is."""

    kind: str
    is_many: bool

    def key(self, slot: str) -> str:
        """Which server has that slot; any text."""

    def connection(self, slot: str) -> Any:
        """A connection of redis-py to it that is not connected yet. Raises what redis-py raises."""

    def names(self) -> list[str]:
        """host:port of every primary."""

    def slots(self) -> list[str]:
        """A slot of every primary."""

    def confirmed(self, connection: Any) -> float:
        """As of when its server is the primary, as far as others know. Raises what redis-py raises.

        By `clock.now`. Where nobody else is to be asked: as of now.
        """

    def moved(self) -> None:
        """A server says that it is not the one: ask again who is."""


def servers() -> Servers:
    """Those of the settings. Raises TypeError where they name no Redis."""
    return _servers(settings().cache)


@cache
def _servers(name: str) -> Servers:
    found = caches[name]
    if not isinstance(found, RedisCache):
        raise TypeError(
            f"CACHING['CACHE'] names {name!r}, which is {type(found).__name__}. It "
            f"needs django_redis.cache.RedisCache; without Redis, leave CACHING out."
        )
    client = found.client.get_client(write=True)
    if isinstance(client, RedisCluster):
        return ClusterServers(client)
    if isinstance(client.connection_pool, SentinelConnectionPool):
        return SentinelServers(client.connection_pool)
    return OneServer(client.connection_pool)


def _forget(*, setting: str, **kwargs: object) -> None:
    if setting in ("CACHING", "CACHES"):
        _servers.cache_clear()
        ClusterFactory.forget()


setting_changed.connect(_forget)

"""The Redis servers that CACHES has for CACHING["CACHE"]: one, Sentinel's, or a Cluster's.

    one       "LOCATION": "redis://host:6379/0"
    Sentinel  "LOCATION": "redis://<name of the set>/0", "OPTIONS": {
                  "CLIENT_CLASS": "django_redis.client.SentinelClient",
                  "CONNECTION_FACTORY": "django_redis.pool.SentinelConnectionFactory",
                  "SENTINELS": [("host", 26379), …]}
    Cluster   "LOCATION": "redis://<any node>:6379", "OPTIONS": {
                  "CONNECTION_FACTORY": "caching.servers.ClusterFactory"}

Connections are made with short waits and without redis-py's retries, to the primary alone. Whatever
is of one place has one hash slot, so a Cluster keeps it on one server.
"""

import threading
from functools import cache
from typing import Any, Protocol

import redis
from django.core.cache import caches
from django.core.signals import setting_changed
from django_redis.cache import RedisCache
from django_redis.pool import ConnectionFactory
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.connection import Connection, ConnectionPool, SSLConnection
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool, SentinelManagedSSLConnection

from caching.clock import now
from caching.conf import settings

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
        return _Cluster(client)
    if isinstance(client.connection_pool, SentinelConnectionPool):
        return _Sentinel(client.connection_pool)
    return _One(client.connection_pool)


def _forget(*, setting: str, **kwargs: object) -> None:
    if setting in ("CACHING", "CACHES"):
        _servers.cache_clear()
        ClusterFactory.forget()


setting_changed.connect(_forget)


class _One:
    kind = "one server"
    is_many = False

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def key(self, slot: str) -> str:
        return ""

    def connection(self, slot: str) -> Any:
        return _connection(self._pool.connection_class, self._pool.connection_kwargs)

    def names(self) -> list[str]:
        made = self.connection("")
        return [getattr(made, "path", None) or f"{made.host}:{made.port}"]

    def slots(self) -> list[str]:
        return [""]

    def confirmed(self, connection: Any) -> float:
        return now()

    def moved(self) -> None:
        """It is the only one."""


class _Sentinel(_One):
    def __init__(self, pool: SentinelConnectionPool) -> None:
        super().__init__(pool)
        self.kind = f"the primary of {pool.service_name!r}, by Sentinel"
        self._name = pool.service_name
        self._sentinels = [one.connection_pool for one in pool.sentinel_manager.sentinels]
        self._told: tuple[tuple[str, int], float] = ("", 0), float("-inf")

    def confirmed(self, connection: Any) -> float:
        """A process asks twice in LEASE_SECONDS at most, however many threads it has."""
        primary, moment = self._told
        if moment + settings().lease_seconds / 2 < now():
            moment = now()
            primary = self._primary()
            self._told = primary, moment
        if (connection.host, connection.port) != primary:
            raise redis.ConnectionError(f"the primary of {self._name!r} is another one now")
        return moment

    def connection(self, slot: str) -> Any:
        host, port = self._primary()
        is_safe = issubclass(self._pool.connection_class, SentinelManagedSSLConnection)
        options = {**self._pool.connection_kwargs, "host": host, "port": port}
        options.pop("connection_pool", None)
        return _connection(SSLConnection if is_safe else Connection, options)

    def _primary(self) -> tuple[str, int]:
        """Asked with short waits, whatever those of the pool are."""
        pools = [
            ConnectionPool(
                connection_class=one.connection_class, **{**one.connection_kwargs, **_short()}
            )
            for one in self._sentinels
        ]
        asked = Sentinel([])
        asked.sentinels = [redis.Redis(connection_pool=pool) for pool in pools]
        try:
            host, port = asked.discover_master(self._name)
        finally:
            for pool in pools:
                pool.disconnect()
        return host, port


class _Cluster:
    kind = "Redis Cluster"
    is_many = True

    def __init__(self, client: Any) -> None:
        self._client = client

    def key(self, slot: str) -> str:
        return str(self._node(slot).name)

    def connection(self, slot: str) -> Any:
        pool = self._client.get_redis_connection(self._node(slot)).connection_pool
        return _connection(pool.connection_class, pool.connection_kwargs)

    def names(self) -> list[str]:
        return sorted(node.name for node in self._client.get_primaries())

    def slots(self) -> list[str]:
        wanted: set[str] = set(self.names())
        found: dict[str, str] = {}
        for number in range(10_000):
            found.setdefault(self.key(str(number)), str(number))
            if found.keys() >= wanted:
                break
        return [found[name] for name in sorted(found)]

    def confirmed(self, connection: Any) -> float:
        """A node asks the others itself: one that has lost its slots says MOVED."""
        return now()

    def moved(self) -> None:
        before = list(self._client.get_nodes())
        self._client.nodes_manager.initialize()
        for gone in set(before).difference(self._client.get_nodes()):
            if gone.redis_connection is not None:
                gone.redis_connection.connection_pool.disconnect()

    def _node(self, slot: str) -> ClusterNode:
        return self._client.get_node_from_key(f"{{{slot}}}")


class ClusterFactory(ConnectionFactory):
    """For CACHES: one client of a Redis Cluster for all threads of a process."""

    _clients: dict[str, Any] = {}
    _lock = threading.Lock()

    def connect(self, url: str) -> Any:
        with self._lock:
            if url not in self._clients:
                self._clients[url] = self._client(url)
            return self._clients[url]

    @classmethod
    def forget(cls) -> None:
        """Of other settings."""
        while cls._clients:
            cls._clients.popitem()[1].disconnect_connection_pools()

    def disconnect(self, connection: Any) -> None:
        connection.disconnect_connection_pools()

    def _client(self, url: str) -> Any:
        options = {**self.make_connection_params(url), **self.pool_cls_kwargs, **_short()}
        options.pop("parser_class", None)
        return RedisCluster.from_url(options.pop("url"), **options)


def _connection(kind: Any, options: dict[str, Any]) -> Any:
    # Protocol 2: one answer for each command, and nothing else.
    return kind(**{**options, **_short(), "protocol": 2})


def _short() -> dict[str, Any]:
    seconds = settings().answer_seconds
    waits = {"socket_timeout": seconds, "socket_connect_timeout": seconds}
    return {**waits, "retry": Retry(NoBackoff(), 0)}

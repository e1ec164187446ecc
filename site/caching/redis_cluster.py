"""The primaries of a Redis Cluster. Whatever is of one place has one hash slot, on one of them."""

import threading
from typing import Any

from django_redis.pool import ConnectionFactory
from redis.cluster import ClusterNode, RedisCluster

from caching.clock import now
from caching.redis_one import connection_of, short_waits

__all__ = ["ClusterFactory", "ClusterServers"]


class ClusterServers:
    """As `caching.servers.Servers`."""

    kind = "Redis Cluster"
    is_many = True

    def __init__(self, client: Any) -> None:
        self._client = client

    def key(self, slot: str) -> str:
        return str(self._node(slot).name)

    def connection(self, slot: str) -> Any:
        pool = self._client.get_redis_connection(self._node(slot)).connection_pool
        return connection_of(pool.connection_class, pool.connection_kwargs)

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
        options = {**self.make_connection_params(url), **self.pool_cls_kwargs, **short_waits()}
        options.pop("parser_class", None)
        return RedisCluster.from_url(options.pop("url"), **options)

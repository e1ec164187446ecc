"""The primary that Sentinel knows, asked again before it is believed for longer."""

from typing import Any

import redis
from redis.connection import Connection, ConnectionPool, SSLConnection
from redis.sentinel import Sentinel, SentinelConnectionPool, SentinelManagedSSLConnection

from caching.clock import now
from caching.conf import settings
from caching.redis_one import OneServer, connection_of, short_waits

__all__ = ["SentinelServers"]


class SentinelServers(OneServer):
    """As `caching.servers.Servers`."""

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
        return connection_of(SSLConnection if is_safe else Connection, options)

    def _primary(self) -> tuple[str, int]:
        """Asked with short waits, whatever those of the pool are."""
        pools = [
            ConnectionPool(
                connection_class=one.connection_class, **{**one.connection_kwargs, **short_waits()}
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

"""The library's settings: one dictionary, `SHARDING`, read once and typed.

SHARDING = {
    "SHARDS": {"shard01": 1, "shard02": 2},      # Django alias: permanent number, 0 to 511
    "ACCOUNT_FROM_SLUG": "accounts.selectors.account_id_of_slug",
    "RETIRED_MODELS": {"shop.oldmodel": "sharded"},
    "REPLICAS": {"shard01": ["shard01_replica"]},
    "REPLICA_READS": True,                       # False: writes are recorded, reads stay away
    "REPLICA_REDIS": "redis://127.0.0.1:6379/0", # where writes are recorded; default: MAP_REDIS
    "REPLICA_MEMORY_SECONDS": 60,                # for how long: see routers.replicas.units
    # How a shard's server reaches the catalog's, to receive the reference models: libpq's keywords.
    "REFERENCE_SOURCE": {"host": "…", "port": 5432, "dbname": "…", "user": "…", "password": "…"},
    # How processes learn of a new shard map, and where they find the last one without the catalog.
    "MAP_REDIS": "redis://127.0.0.1:6379/0",     # new versions are announced there; None: polling
    "MAP_FILE": "/var/lib/shop/shard-map.json",  # the last known map; None: no copy on disk
    "MAP_POLL_SECONDS": 0.8,                     # between looks at the catalog without Redis …
    "MAP_POLL_SECONDS_WITH_REDIS": 10,           # … and with it
    "CATALOG_SECONDS": 2,                        # a server's process waits no longer for it
    # Accounts that move: see routers.ownership.
    "OWNER_SECONDS": 5,                          # an old copy is read no longer
    "MOVING_SECONDS": 2,                         # how long a request waits for a move, then 503
    # Who sees the inside in /readyz and /metrics: these networks, and who brings the token.
    "PROBE_NETWORKS": ["127.0.0.0/8", "10.0.0.0/8"],  # default: loopback and private addresses
    "PROBE_TOKEN": "…",                          # `Authorization: Bearer …`; None: networks only
    "POOLER_CONSOLES": ["host=… dbname=pgbouncer user=… password=…"],  # for SHOW POOLS
}
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any

from django.conf import settings as django_settings
from django.core.signals import setting_changed
from django.http import HttpRequest
from django.utils.module_loading import import_string

__all__ = ["CATALOG", "Settings", "settings"]

CATALOG = "default"
PRIVATE_NETWORKS = (
    *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
    *("::1/128", "fc00::/7"),
)


@dataclass(frozen=True)
class Settings:
    """`shards`: alias → number. `retired_models`: "app.model" → placement, for deleted models."""

    shards: Mapping[str, int]
    account_from_slug: Callable[[HttpRequest, str], int] | None = None
    slug_argument: str = "account_slug"
    retired_models: Mapping[str, str] = field(default_factory=dict)
    replicas: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    replica_reads: bool = True
    replica_redis: str | None = None
    replica_memory_seconds: int = 60
    reference_source: Mapping[str, object] = field(default_factory=dict)
    map_redis: str | None = None
    map_file: Path | None = None
    map_poll_seconds: float = 0.8
    map_poll_seconds_with_redis: float = 10.0
    catalog_seconds: float = 2.0
    owner_seconds: float = 5.0
    moving_seconds: float = 2.0
    probe_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    probe_token: str | None = None
    pooler_consoles: tuple[str, ...] = ()

    @cached_property
    def recorded(self) -> Mapping[str, tuple[str, ...]]:
        """`replicas` where their reads are possible: without Redis nobody knows of a write."""
        return self.replicas if self.replica_redis else {}

    def primary_of(self, alias: str | None) -> str | None:
        """The primary of a replica's alias; any other alias is its own."""
        if self.replicas:
            for primary, replicas in self.replicas.items():
                if alias in replicas:
                    return primary
        return alias


@cache
def settings() -> Settings:
    """The project's settings. Raises KeyError where `SHARDING["SHARDS"]` is missing."""
    raw: dict[str, Any] = django_settings.SHARDING
    resolver = raw.get("ACCOUNT_FROM_SLUG")
    return Settings(
        shards=dict(raw["SHARDS"]),
        account_from_slug=import_string(resolver) if resolver else None,
        slug_argument=raw.get("SLUG_ARGUMENT", "account_slug"),
        retired_models={name.lower(): kind for name, kind in raw.get("RETIRED_MODELS", {}).items()},
        replicas={shard: tuple(aliases) for shard, aliases in raw.get("REPLICAS", {}).items()},
        replica_reads=raw.get("REPLICA_READS", True),
        replica_redis=raw.get("REPLICA_REDIS", raw.get("MAP_REDIS")),
        replica_memory_seconds=raw.get("REPLICA_MEMORY_SECONDS", 60),
        reference_source=dict(raw.get("REFERENCE_SOURCE") or {}),
        map_redis=raw.get("MAP_REDIS"),
        map_file=Path(raw["MAP_FILE"]) if raw.get("MAP_FILE") else None,
        map_poll_seconds=raw.get("MAP_POLL_SECONDS", 0.8),
        map_poll_seconds_with_redis=raw.get("MAP_POLL_SECONDS_WITH_REDIS", 10.0),
        catalog_seconds=raw.get("CATALOG_SECONDS", 2.0),
        owner_seconds=raw.get("OWNER_SECONDS", 5.0),
        moving_seconds=raw.get("MOVING_SECONDS", 2.0),
        probe_networks=tuple(map(ip_network, raw.get("PROBE_NETWORKS", PRIVATE_NETWORKS))),
        probe_token=raw.get("PROBE_TOKEN"),
        pooler_consoles=tuple(raw.get("POOLER_CONSOLES", ())),
    )


def _forget(*, setting: str, **kwargs: object) -> None:
    if setting == "SHARDING":
        settings.cache_clear()


setting_changed.connect(_forget)

"""The variables that an Ansible inventory may have, where each stands, and what it has otherwise.

ansible/inventories/example shows each of them with its meaning.
"""

__all__ = ["DEFAULTS", "KNOWN", "PORTS", "RENAMED", "REQUIRED_GROUPS", "SERVICE_GROUPS"]

from typing import Any, Literal

from infra.layout import CHECKOUT
from infra.yamlsource import read

REQUIRED_GROUPS = (
    "catalog",
    "shards",
    "etcd",
    "poolers",
    "caches",
    "apps",
    "workers",
    "balancers",
)
SERVICE_GROUPS = (*REQUIRED_GROUPS, "monitors")

Where = Literal["cluster", "host", "group"]
KNOWN: dict[str, Where] = {
    # The same for every host: group_vars/all.
    "fulcrum_cluster": "cluster",
    "fulcrum_postgres": "cluster",
    "fulcrum_site": "cluster",
    "fulcrum_synchronous": "cluster",
    "fulcrum_ssh_from": "cluster",
    "fulcrum_secrets": "cluster",
    "fulcrum_authority": "cluster",
    "fulcrum_rotation": "cluster",
    # Of a host: group_vars, or its own where it differs.
    "fulcrum_pooler": "host",
    "fulcrum_cache": "host",
    "fulcrum_app": "host",
    "fulcrum_worker": "host",
    "fulcrum_purposes": "host",
    "fulcrum_address": "host",
    "fulcrum_memory_mb": "host",
    # Of a shard's group, or the catalog's.
    "fulcrum_number": "group",
    "fulcrum_primary": "group",
}
RENAMED = {
    "fulcrum_role": "write `fulcrum_primary: HOST` among the variables of the shard's group",
}

PORTS = {"postgres": 5432, "pooler": 6432, "cache": 6379, "broker": 6380, "web": 8000}
"""A shard's PostgreSQL listens on `postgres` + its number, so that a host may hold several."""

DEFAULTS: dict[str, dict[str, Any]] = {
    "fulcrum_postgres": {
        "max_connections": 200,
        "superuser_reserved_connections": 5,
        "direct_connections": 40,
        "max_wal_senders": 40,
        "max_replication_slots": 40,
        "max_slot_wal_keep_size": "16GB",
        "shared_buffers": None,
        "fsync": True,
    },
    "fulcrum_pooler": {
        "processes": 2,
        "pool_size": 20,
        "reserve_pool": 5,
        "max_db_connections": 25,
        "max_client_conn": 1000,
        "query_wait_timeout": 5,
    },
    "fulcrum_cache": {"maxmemory": "256mb", "broker_maxmemory": "256mb"},
    "fulcrum_app": {"workers": 4, "threads": 4},
    "fulcrum_worker": {"concurrency": 4},
}


def site_defaults() -> dict[str, Any]:
    """How the site is prepared and run: as on this machine, but for where it is found."""
    site: dict[str, Any] = dict(read(CHECKOUT / "infra" / "cluster.yml").data["site"])
    del site["public_url"], site["allowed_hosts"]
    return site

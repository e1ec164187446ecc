"""Redis: cache and broker, each a server of its own, over TLS only, for users with few rights."""

__all__ = ["files", "redis_url", "variables"]

import hashlib
from typing import Any
from urllib.parse import urlencode

from infra.credentials import Credentials
from infra.hosts import Cluster, Facts, HostFile
from infra.rotation import Rotation
from infra.schema import Cache, Description
from infra.templating import template

FOLDER = "/etc/redis"
DATA = "/var/lib/redis"
TLS = "/etc/fulcrum/tls"
UNIT = "/etc/systemd/system/redis-server@.service.d/fulcrum.conf"

RIGHTS = {
    # Everything with keys, scripts and channels; nothing that changes the server, and of what looks
    # at it only INFO: the cache notices by it that this is another Redis than before.
    "app": "~* &* +@all -@admin -@dangerous +info",
    # Settings and users, without a look at any key.
    "admin": "resetchannels +ping +acl|load +acl|log +config +info +client",
    # What redis_exporter asks, and how long and large the broker's queues are.
    "monitor": (
        "~* resetchannels +ping +info +client|setname +client|list +config|get"
        " +slowlog|get +slowlog|len +latency|latest +latency|histogram +dbsize +select"
        " +memory|usage +type +llen +scard +zcard +hlen"
    ),
}


def redis_url(d: Description, credentials: Credentials, purpose: str, rotation: Rotation) -> str:
    """Where the site finds the cache or the broker of real hosts, and how it logs in there."""
    cache, trust = d.cache_for(purpose), {"ssl_cert_reqs": "required"}
    query = urlencode({**trust, "ssl_ca_certs": f"{TLS}/ca.crt"}, safe="/")
    login = f"{rotation.user(purpose)}:{getattr(credentials, purpose)}"
    return f"rediss://{login}@{cache.host}:{cache.port}/0?{query}"


def files(cluster: Cluster, host: str, facts: Facts) -> list[HostFile]:
    made = [HostFile(UNIT, template("redis.service.conf"))]
    for cache in _here(cluster.description, host):
        settings = template(
            "redis.conf",
            cache=cache,
            directory=f"{DATA}/{cache.purpose}",
            listen=cluster.description.addresses[host],
            tls=TLS,
            acl_file=_acl_path(cache.purpose),
        )
        acl = template("redis.acl", users=_users(cluster, cache.purpose))
        made.append(HostFile(f"{FOLDER}/redis-{cache.purpose}.conf", settings))
        made.append(HostFile(_acl_path(cache.purpose), acl, 0o640, group="redis"))
    return made


def variables(cluster: Cluster, host: str, facts: Facts) -> dict[str, Any]:
    """`instances`: name, port and data folder of each; `memory_mb`: what all may take together;
    `available_mb`: what the host has; `admin`, `admin_password`: who may change settings."""
    here = _here(cluster.description, host)
    return {
        "instances": [
            {"name": cache.purpose, "port": cache.port, "data": f"{DATA}/{cache.purpose}"}
            for cache in here
        ],
        "memory_mb": sum(_megabytes(cache.maxmemory) for cache in here),
        "available_mb": facts.memory_mb,
        "admin": cluster.rotation.user("redis_admin"),
        "admin_password": cluster.credentials.redis_admin,
    }


def _here(d: Description, host: str) -> list[Cache]:
    return sorted((c for c in d.caches if c.host == host), key=lambda cache: cache.purpose)


def _acl_path(purpose: str) -> str:
    return f"{FOLDER}/redis-{purpose}.acl"


def _users(cluster: Cluster, purpose: str) -> dict[str, tuple[str, str]]:
    """Every login that opens now → the digest of its password, and its rights."""
    rights = {purpose: "app", "redis_admin": "admin", "redis_monitor": "monitor"}
    return {
        user: (hashlib.sha256(password.encode()).hexdigest(), RIGHTS[right])
        for name, right in rights.items()
        for user, password in cluster.rotation.users(cluster.credentials, name).items()
    }


def _megabytes(size: str) -> int:
    units = {"kb": 1 / 1024, "mb": 1, "gb": 1024}
    return round(int(size[:-2]) * units[size[-2:]])

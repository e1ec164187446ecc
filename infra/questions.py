"""What ansible/status.yml asks each host: where its services answer, and what opens them. Pure."""

__all__ = ["Questions", "questions"]

import base64
from dataclasses import dataclass
from typing import Any

from infra.credentials import Credentials
from infra.hosts.etcd import CLIENT_PORT
from infra.hosts.exporters import QUEUE
from infra.hosts.monitoring import SITE_USER, url
from infra.patroni import rest_port
from infra.rotation import Rotation
from infra.schema import Cache, Description


@dataclass(frozen=True, repr=False)
class Questions:
    """What ansible/library/fulcrum_status.py takes; `secrets` it never shows."""

    ask: dict[str, Any]
    secrets: dict[str, str]


def questions(d: Description, credentials: Credentials, rotation: Rotation, host: str) -> Questions:
    """Only of what the inventory puts on `host`; None or [] for what it does not."""
    ask = {
        "databases": [_database(d, alias) for alias in d.databases_on(host)],
        "caches": [_cache(cache, rotation) for cache in d.caches if cache.host == host],
        "pooler": {"host": host} if _among(d.poolers, host) else None,
        "etcd": {"host": host, "port": CLIENT_PORT} if _among(d.etcd, host) else None,
        "site": _site(d, host),
        "monitor": {"url": url(host)} if _among(d.monitors, host) else None,
    }
    login = f"{SITE_USER}:{credentials.probe_token}"
    secrets = {
        "redis": credentials.redis_monitor,
        "probe": credentials.probe_token,
        "monitor": base64.b64encode(login.encode()).decode(),
    }
    return Questions(ask, secrets)


def _among(members: list[Any], host: str) -> bool:
    return any(member.host == host for member in members)


def _database(d: Description, alias: str) -> dict[str, Any]:
    node = d.servers[alias]
    address = {"host": node.host, "port": node.port, "rest_port": rest_port(node)}
    return {"name": d.database(alias), **address}


def _cache(cache: Cache, rotation: Rotation) -> dict[str, Any]:
    queue = QUEUE if cache.purpose == "broker" else None
    where = {"host": cache.host, "port": cache.port, "user": rotation.user("redis_monitor")}
    return {"name": cache.purpose, **where, "queue": queue}


def _site(d: Description, host: str) -> dict[str, str] | None:
    app = next((app for app in d.apps if app.host == host), None)
    return {"url": f"http://{d.addresses[host]}:{app.port}"} if app else None

"""The cluster as the site sees it: one JSON file, rendered by `infra` from the cluster description.

FULCRUM_CONFIG names the file. Without it the site runs on SQLite files, with no server at all.
"""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.utils import get_random_secret_key
from redis.backoff import NoBackoff
from redis.retry import Retry

__all__ = [
    "caches",
    "caching",
    "databases",
    "load",
    "replicas",
    "secret_key_fallbacks",
    "shard_numbers",
]

CHECKOUT = Path(__file__).resolve().parents[2]
RELEASE = CHECKOUT / "RELEASE"  # what a release is called; no checkout has it
IN_PROCESS_BYTES = 4 * 2**20
CONNECTION_SECONDS = 300
CONNECT_TIMEOUT_SECONDS = 3
REQUIRED = {
    "engine",
    "secret_key",
    "debug",
    "allowed_hosts",
    "public_url",
    "directory_state",
    "databases",
    "cache",
    "broker",
}
OPTIONAL: dict[str, Any] = {
    "references": None,
    "probe_token": None,
    "pooler_consoles": [],
    "monitors": [],
    "secret_key_fallbacks": {},
}


def load() -> dict[str, Any]:
    """The cluster's description for this process. Raises ImproperlyConfigured for a bad file."""
    name = os.environ.get("FULCRUM_CONFIG")
    if not name:
        return OPTIONAL | _without_servers()
    try:
        config: dict[str, Any] = json.loads(Path(name).read_text())
    except (OSError, ValueError) as error:
        raise ImproperlyConfigured(
            f"FULCRUM_CONFIG names {name}, which cannot be read: {error}. `make up` writes it."
        ) from error
    if missing := REQUIRED - set(config):
        raise ImproperlyConfigured(
            f"{name} (FULCRUM_CONFIG) says nothing of {', '.join(sorted(missing))}."
            " `make up` writes it anew."
        )
    return OPTIONAL | config


def databases(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Django's DATABASES."""
    make = _sqlite if config["engine"] == "sqlite" else _postgresql
    return {alias: make(given) for alias, given in config["databases"].items()}


def shard_numbers(config: dict[str, Any]) -> dict[str, int]:
    """The library's SHARDS: alias → permanent number."""
    return {a: d["number"] for a, d in config["databases"].items() if "number" in d}


def replicas(config: dict[str, Any]) -> dict[str, list[str]]:
    """The library's REPLICAS: a primary's alias → its replicas'."""
    found: dict[str, list[str]] = {}
    for alias, given in config["databases"].items():
        if "replica_of" in given:
            found.setdefault(given["replica_of"], []).append(alias)
    return found


def secret_key_fallbacks(config: dict[str, Any]) -> list[str]:
    """Django's SECRET_KEY_FALLBACKS: those whose last day, where they have one, is not over."""
    today = datetime.now(UTC).date().isoformat()
    given: dict[str, str | None] = config["secret_key_fallbacks"]
    return [key for key, last_day in given.items() if last_day is None or last_day >= today]


def caches(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Django's CACHES: Redis by django-redis, or this process's memory without a server."""
    if not config["cache"]:
        return {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    options = {
        "CLIENT_CLASS": "django_redis.client.DefaultClient",
        "SOCKET_CONNECT_TIMEOUT": 0.5,
        "SOCKET_TIMEOUT": 0.5,
        "CONNECTION_POOL_KWARGS": {"retry": Retry(NoBackoff(), 0)},  # redis-py's own: ten times
        "IGNORE_EXCEPTIONS": True,  # Redis being away makes the site slower, never down
    }
    return {
        "default": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": config["cache"],
            "OPTIONS": options,
        }
    }


def caching(config: dict[str, Any]) -> dict[str, Any] | None:
    """The library's CACHING. None, so that nothing is cached, without PostgreSQL and Redis."""
    if config["engine"] != "postgresql" or not config["cache"]:
        return None
    return {"RELEASE": _release(), "IN_PROCESS_BYTES": IN_PROCESS_BYTES}


def _release() -> str:
    """The commit that is deployed, "" in a checkout: fragments of another one are not shown."""
    try:
        return str(json.loads(RELEASE.read_text())["commit"])
    except FileNotFoundError:
        return ""


def _postgresql(given: dict[str, Any]) -> dict[str, Any]:
    test = {"TEST": {"MIRROR": given["replica_of"]}} if "replica_of" in given else {}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": given["host"],
        "PORT": given["port"],
        "NAME": given["name"],
        "USER": given["user"],
        "PASSWORD": given["password"],
        "CONN_MAX_AGE": CONNECTION_SECONDS,
        "CONN_HEALTH_CHECKS": True,
        "DISABLE_SERVER_SIDE_CURSORS": True,  # they do not survive transaction pooling
        "OPTIONS": {"connect_timeout": CONNECT_TIMEOUT_SECONDS, **given.get("options", {})},
        **test,
    }


def _sqlite(given: dict[str, Any]) -> dict[str, Any]:
    options = {
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;",
        "timeout": 20,
    }
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": given["name"], "OPTIONS": options}


def _without_servers() -> dict[str, Any]:
    directory = CHECKOUT / ".cluster" / "sqlite"
    directory.mkdir(parents=True, exist_ok=True)
    shards = {
        f"shard{number:02}": {
            "name": str(directory / f"shard{number:02}.sqlite3"),
            "number": number,
        }
        for number in range(1, 5)
    }
    return {
        "engine": "sqlite",
        "secret_key": get_random_secret_key(),
        "debug": False,
        "allowed_hosts": ["127.0.0.1", "localhost"],
        "public_url": "http://127.0.0.1:8000",
        "directory_state": str(directory),
        "databases": {"default": {"name": str(directory / "catalog.sqlite3")}, **shards},
        "cache": None,
        "broker": None,
    }

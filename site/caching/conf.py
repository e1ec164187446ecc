"""The cache's settings: one dictionary, `CACHING`, read once. Without it nothing is cached.

CACHING = {
    "CACHE": "default",       # which of CACHES: django-redis, whose connections are used
    "PREFIX": "models",       # of every key on Redis
    "SECONDS": 3600,          # how long an entry is kept, where neither model nor query says
    "ANSWER_SECONDS": 0.2,    # Redis is away when it takes longer
    "REST_SECONDS": 1.0,      # reads leave a Redis that is away alone for so long
    "LEASE_SECONDS": 1.0,     # how often a process asks a shard whether its cache is in service
    "OFF_SECONDS": 2.0,       # a cache that a writer turned off stays so, lest each one has to wait
    "PATIENCE_SECONDS": 2.0,  # a write that is pending for longer may be a dead process's
    "COMPRESS_FROM": 1024,    # bytes: a few rows
    "IN_PROCESS_BYTES": 0,    # of entries in each process's own memory: see caching.local
    "IN_PROCESS_SECONDS": 30, # how long they are kept there
    "IN_PROCESS_LEASE": 0.1,  # seconds: how often Redis is asked whether they are valid
    "RELEASE": "",            # of the deployed code: fragments of another one are not shown
    "STRICT": None,           # True: a fragment that is not safe to keep raises; None: as DEBUG
}
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

from django.conf import settings as django_settings
from django.core.signals import setting_changed

__all__ = ["Settings", "settings"]


@dataclass(frozen=True)
class Settings:
    """The dictionary above, in lower case."""

    enabled: bool = True
    cache: str = "default"
    prefix: str = "models"
    seconds: int = 3600
    answer_seconds: float = 0.2
    rest_seconds: float = 1.0
    lease_seconds: float = 1.0
    off_seconds: float = 2.0
    patience_seconds: float = 2.0
    compress_from: int = 1024
    in_process_bytes: int = 0
    in_process_seconds: float = 30.0
    in_process_lease: float = 0.1
    release: str = ""
    strict: bool | None = None


@cache
def settings() -> Settings:
    """The project's settings. Raises TypeError for a name that does not exist."""
    raw: dict[str, Any] | None = getattr(django_settings, "CACHING", None)
    if raw is None:
        return Settings(enabled=False)
    return Settings(**{name.lower(): value for name, value in raw.items()})


def _forget(*, setting: str, **kwargs: object) -> None:
    if setting in ("CACHING", "CACHES"):
        settings.cache_clear()


setting_changed.connect(_forget)

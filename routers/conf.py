"""The library's settings: one dictionary, `SHARDING`, read once and typed.

SHARDING = {
    "SHARDS": {"shard01": 1, "shard02": 2},      # Django alias: permanent number, 0 to 511
    "ACCOUNT_FROM_SLUG": "accounts.selectors.account_id_of_slug",
    "RETIRED_MODELS": {"shop.oldmodel": "sharded"},
    "REPLICAS": {"shard01": ["shard01_replica"]},
}
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from django.conf import settings as django_settings
from django.core.signals import setting_changed
from django.http import HttpRequest
from django.utils.module_loading import import_string

__all__ = ["CATALOG", "Settings", "settings"]

CATALOG = "default"


@dataclass(frozen=True)
class Settings:
    """`shards`: alias → number. `retired_models`: "app.model" → placement, for deleted models."""

    shards: Mapping[str, int]
    account_from_slug: Callable[[HttpRequest, str], int] | None = None
    slug_argument: str = "account_slug"
    retired_models: Mapping[str, str] = field(default_factory=dict)
    replicas: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

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
    )


def _forget(*, setting: str, **kwargs: object) -> None:
    if setting == "SHARDING":
        settings.cache_clear()


setting_changed.connect(_forget)

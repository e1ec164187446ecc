"""What an entry belongs to, and what a write concerns.

Rows of an account: one place, whose token every write of the account replaces. Global and reference
models: one place in the catalog, with a token for each table.
"""

from functools import cache
from typing import Any, NamedTuple

from django.apps import apps
from django.db import models

from routers.conf import CATALOG
from routers.conf import settings as sharding
from routers.context import Scope
from routers.placement import is_sharded
from routers.shard_map import current_map

__all__ = [
    "Place",
    "cached_tables",
    "has_cached_accounts",
    "is_cached",
    "is_managed",
    "is_replica",
    "of_account",
    "of_tables",
    "shard_tables",
]

SHARED = "catalog"


class Place(NamedTuple):
    """`alias`: the database. `slot`: the part of the keys that Redis Cluster hashes.

    `names`: one for each token: "" for an account's only one, else tables.
    """

    alias: str
    slot: str
    names: tuple[str, ...] = ("",)
    version: int = 0  # of the shard map that has the account there

    @property
    def is_account(self) -> bool:
        """Whether it is an account's, and not the catalog's."""
        return self.slot != SHARED


def of_account(scope: Scope) -> Place:
    """Of a scope with an account."""
    return Place(scope.alias(), f"a{scope.account_id}", ("",), current_map().version)


def of_tables(tables: frozenset[str]) -> Place:
    """Of tables in the catalog."""
    return Place(CATALOG, SHARED, tuple(sorted(tables)))


def is_cached(model: type[models.Model]) -> bool:
    """Whether one of the model's managers caches."""
    return any(getattr(manager, "caches", False) for manager in model._meta.managers)


@cache
def cached_tables() -> frozenset[str]:
    """The tables of global and reference models that are cached."""
    found: list[Any] = [model for model in apps.get_models() if is_cached(model)]
    return frozenset(model._meta.db_table for model in found if not is_sharded(model))


@cache
def has_cached_accounts() -> bool:
    """Whether there is a sharded model that is cached."""
    return any(is_cached(model) and is_sharded(model) for model in apps.get_models())


@cache
def shard_tables() -> frozenset[str]:
    """The tables of sharded models: what an account's token stands for."""
    return frozenset(model._meta.db_table for model in apps.get_models() if is_sharded(model))


@cache
def is_managed(alias: str) -> bool:
    """Whether the database is the catalog or a shard's primary."""
    return alias == CATALOG or alias in sharding().shards


def is_replica(alias: str) -> bool:
    """Whether the database is a copy of a shard, which may lag behind."""
    return sharding().primary_of(alias) != alias

"""Sharding for Django: accounts live on shards, and every query knows its account.

Models: `routers.models.ShardedModel`, `ReferenceModel`, `GlobalModel`.
"""

from routers.context import account_context, all_accounts, current_account
from routers.exceptions import (
    AccountNotSet,
    CrossAccount,
    InvalidAccount,
    NoShardMap,
    RoutingError,
    UnknownPlacement,
)
from routers.shard_map import SLOTS, ShardMap, current_map, refresh_map, shard_of
from routers.transactions import account_atomic

__all__ = [
    "SLOTS",
    "AccountNotSet",
    "CrossAccount",
    "InvalidAccount",
    "NoShardMap",
    "RoutingError",
    "ShardMap",
    "UnknownPlacement",
    "account_atomic",
    "account_context",
    "all_accounts",
    "current_account",
    "current_map",
    "refresh_map",
    "shard_of",
]

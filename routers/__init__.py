"""Sharding for Django: accounts live on shards, and every query knows its account.

Models: `routers.models.ShardedModel`, `ReferenceModel`, `GlobalModel`.
"""

from routers.carrying import carry
from routers.context import account_context, all_accounts, current_account
from routers.exceptions import (
    AccountNotSet,
    CrossAccount,
    ForeignLink,
    InvalidAccount,
    NoShardMap,
    NotDivisible,
    RoutingError,
    ShardUnavailable,
    UnknownPlacement,
)
from routers.fanout.fan_out import fan_out
from routers.fanout.lookup import account_of_id, shard_of_id
from routers.shard_map import SLOTS, ShardMap, current_map, refresh_map, shard_of
from routers.transactions import account_atomic, account_on_commit

__all__ = [
    "SLOTS",
    "AccountNotSet",
    "CrossAccount",
    "ForeignLink",
    "InvalidAccount",
    "NoShardMap",
    "NotDivisible",
    "RoutingError",
    "ShardMap",
    "ShardUnavailable",
    "UnknownPlacement",
    "account_atomic",
    "account_context",
    "account_of_id",
    "account_on_commit",
    "all_accounts",
    "carry",
    "current_account",
    "current_map",
    "fan_out",
    "refresh_map",
    "shard_of",
    "shard_of_id",
]

"""Which shard an account lives on: the map as a value, a process's own, and how that stays new."""

from routers.shard_map.current import (
    Source,
    confirm_map,
    confirmed_at,
    current_map,
    held_map,
    publish_map,
    refresh_map,
    shard_of,
    start_map,
    use_map,
)
from routers.shard_map.snapshot import SLOTS, ShardMap

__all__ = [
    "SLOTS",
    "ShardMap",
    "Source",
    "confirm_map",
    "confirmed_at",
    "current_map",
    "held_map",
    "publish_map",
    "refresh_map",
    "shard_of",
    "start_map",
    "use_map",
]

"""A shard map as a value: what a process looks accounts up in."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from types import MappingProxyType

from routers.exceptions import RoutingError

__all__ = ["SLOTS", "ShardMap"]

SLOTS = 4096


@dataclass(frozen=True)
class ShardMap:
    """An immutable shard map: 4096 slots, pins, and the version under which it was stored."""

    slots: tuple[str, ...]
    pins: Mapping[int, str] = field(default_factory=dict)
    version: int = 0

    def __post_init__(self) -> None:
        if len(self.slots) != SLOTS:
            raise RoutingError(f"A shard map has {SLOTS} slots, not {len(self.slots)}.")
        object.__setattr__(self, "pins", MappingProxyType(dict(self.pins)))

    def shard_of(self, account_id: int) -> str:
        """The alias of the account's shard."""
        return self.pins.get(account_id) or self.slots[account_id % SLOTS]

    def slots_by_shard(self) -> Counter[str]:
        """How many slots each shard has."""
        return Counter(self.slots)

    def runs(self) -> list[list[object]]:
        """The slots as `[first slot, shard]` for each run of equal slots: how the map is stored."""
        runs: list[list[object]] = []
        first = 0
        for shard, members in groupby(self.slots):
            runs.append([first, shard])
            first += sum(1 for _ in members)
        return runs

    @classmethod
    def from_runs(
        cls, runs: Sequence[Sequence[object]], pins: Mapping[int, str], version: int
    ) -> "ShardMap":
        """The opposite of `runs`. Raises RoutingError where they are not in order from slot 0."""
        firsts = [int(str(first)) for first, _ in runs] + [SLOTS]
        if firsts[0] != 0 or any(a >= b for a, b in pairwise(firsts)):
            raise RoutingError(f"The runs of a shard map rise from 0 to {SLOTS}: {firsts[:-1]}.")
        slots = [
            str(shard)
            for (_, shard), (first, after) in zip(runs, pairwise(firsts), strict=True)
            for _ in range(first, after)
        ]
        return cls(tuple(slots), pins, version)

    @classmethod
    def even(cls, shards: Sequence[str]) -> "ShardMap":
        """Slots dealt to the shards in turn, so that consecutive account ids spread evenly."""
        if not shards:
            raise RoutingError("A shard map needs at least one shard: SHARDING['SHARDS'] is empty.")
        return cls(tuple(shards[slot % len(shards)] for slot in range(SLOTS)))

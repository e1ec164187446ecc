"""What a shard has, by the map and by its own rows. `manage.py shards owned SHARD`.

A shard leaves the cluster only when that is nothing.
"""

from dataclasses import asdict, dataclass

from routers.conf import settings
from routers.inspection.reading import SECONDS, Reader, ask_each
from routers.inspection.status import HOP
from routers.placement import sharded_models
from routers.shard_map import refresh_map

__all__ = ["Owned", "owned_by"]


@dataclass(frozen=True)
class Owned:
    """Slots and pins by the newest map; accounts that have rows there, whosever they are.

    `accounts` is None where that is not known: `error` says why.
    """

    shard: str
    slots: int
    pins: int
    accounts: int | None
    error: str | None = None

    @property
    def is_nothing(self) -> bool:
        return (self.slots, self.pins, self.accounts) == (0, 0, 0)

    def as_dict(self) -> dict[str, object]:
        return asdict(self) | {"nothing": self.is_nothing}


def owned_by(shard: str, seconds: float = SECONDS) -> Owned:
    """What is the shard's. Raises CatalogAway: without the catalog nobody knows."""
    newest = refresh_map()
    slots = newest.slots_by_shard()[shard]
    pins = sum(home == shard for home in newest.pins.values())
    if shard not in settings().shards:
        return Owned(shard, slots, pins, None, f"SHARDING['SHARDS'] has no {shard}")
    answer = ask_each([shard], _accounts, seconds)[shard]
    if isinstance(answer, str):
        return Owned(shard, slots, pins, None, answer)
    return Owned(shard, slots, pins, answer)


def _accounts(opened: Reader) -> int:
    """A shard that was never migrated has no tables, and nobody's rows."""
    there = opened.connection.introspection.table_names(opened.cursor)
    tables = [model._meta.db_table for model in sharded_models()]
    found = [opened.rows(HOP.format(table=table)) for table in tables if table in there]
    return len({account for rows in found for account in rows})

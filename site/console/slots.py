"""Where the accounts are: counted in the catalog by slot, and the map as a picture.

An account's shard is a matter of the map, so a shard that is away has its accounts here too.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from django.db import Error
from django.db.models import Count, F

from accounts.models import Account
from routers import SLOTS, ShardMap
from routers.conf import settings
from routers.exceptions import RoutingError
from routers.shard_map import current_map

__all__ = ["COLUMNS", "LEVELS", "ShardSlots", "SlotPicture", "slot_picture"]

COLUMNS = 64
LEVELS = 4  # of shade, besides that of an empty slot


@dataclass(frozen=True)
class ShardSlots:
    """A shard's slots in the map's order, a square each; `paths`: shade → lines over them."""

    shard: str
    slots: int
    pins: int
    accounts: int | None
    rows: int
    paths: list[tuple[int, str]]

    @property
    def ground(self) -> str:
        """The outline of all squares: the last row may be short."""
        full, rest = divmod(self.slots, COLUMNS)
        return f"M0 0h{COLUMNS}v{full}H{rest}v1H0z" if rest else f"M0 0h{COLUMNS}v{full}H0z"


@dataclass(frozen=True)
class SlotPicture:
    """The whole map. `most`: accounts of the fullest slot; None where the catalog is away."""

    version: int
    accounts: int | None
    most: int | None
    shards: list[ShardSlots]

    @property
    def shades(self) -> list[tuple[int, int, int]]:
        """Each shade with the least and most accounts of a slot that has it."""
        most = self.most or 0
        edges = [most * level // LEVELS for level in range(LEVELS + 1)]
        levels = [(n, edges[n - 1] + 1, edges[n]) for n in range(1, LEVELS + 1)]
        return [(level, least, most) for level, least, most in levels if least <= most]


def slot_picture() -> SlotPicture | None:
    """The map with what is in it, by two queries of the catalog; None while there is no map."""
    try:
        snapshot = current_map()
    except (Error, RoutingError):
        return None
    try:
        by_slot, by_pin = _accounts(snapshot)
    except (Error, RoutingError):
        return _picture(snapshot, None, Counter())
    return _picture(snapshot, by_slot, by_pin)


def _accounts(snapshot: ShardMap) -> tuple[Counter[int], Counter[str]]:
    """Accounts by slot, without the pinned ones, which are by shard."""
    slots = Account.objects.annotate(slot=F("pk") % SLOTS).values_list("slot")
    by_slot = Counter(dict(slots.annotate(number=Count("pk")).order_by()))
    by_pin: Counter[str] = Counter()
    if snapshot.pins:
        for account in Account.objects.filter(pk__in=list(snapshot.pins)).values_list("pk"):
            by_slot[account[0] % SLOTS] -= 1
            by_pin[snapshot.pins[account[0]]] += 1
    return by_slot, by_pin


def _picture(snapshot: ShardMap, by_slot: Counter[int] | None, by_pin: Counter[str]) -> SlotPicture:
    owned: dict[str, list[int]] = {shard: [] for shard in sorted(settings().shards)}
    for slot, shard in enumerate(snapshot.slots):
        owned.setdefault(shard, []).append(slot)
    pinned = Counter(snapshot.pins.values())
    most = max(by_slot.values(), default=0) if by_slot is not None else None
    shards = []
    for shard, slots in owned.items():
        numbers = [by_slot[slot] for slot in slots] if by_slot is not None else None
        shards.append(
            ShardSlots(
                shard,
                len(slots),
                pinned[shard],
                None if numbers is None else sum(numbers) + by_pin[shard],
                -(-len(slots) // COLUMNS),
                [*_paths([_level(n, most or 0) for n in numbers or [0] * len(slots)])],
            )
        )
    total = None if by_slot is None else by_slot.total() + by_pin.total()
    return SlotPicture(snapshot.version, total, most, shards)


def _level(number: int, most: int) -> int:
    """0 for none, LEVELS for the most."""
    return -(-LEVELS * number // most) if number > 0 and most else 0


def _paths(levels: Sequence[int]) -> Iterator[tuple[int, str]]:
    """For each shade but that of none, lines over the squares that have it."""
    drawn: dict[int, list[str]] = defaultdict(list)
    for row in range(0, len(levels), COLUMNS):
        y, x = row // COLUMNS, 0
        for level, run in groupby(levels[row : row + COLUMNS]):
            length = len(list(run))
            if level:
                drawn[level].append(f"M{x} {y}.5h{length}")
            x += length
    for level, lines in sorted(drawn.items()):
        yield level, "".join(lines)

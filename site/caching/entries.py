"""What an entry says beside its answer: how long it is good for, and what it cost to compute.

The content, as `codec.dump` takes it: [until, cost, is kept longer, packed answer]. `until` is by
the clock of whoever made it, and decides only when to compute anew, never whether an answer is
right: see `stampede`.
"""

from math import log
from random import random
from time import time
from typing import Any, NamedTuple

from caching import local, store
from caching.clock import now
from caching.codec import NotPlain, dump, load
from caching.places import Place
from caching.policy import Policy

__all__ = ["UNKNOWN", "Entry", "Packing", "Seen"]

UNKNOWN: Any = object()
"""No answer: None may be one."""
RARELY = 20  # times the cost before its end an entry is made anew: of 10**9 readers, two
MOST_VALID = 10_000

# Key of an entry → its stamp, and when this process last knew it to be valid.
_valid: dict[str, tuple[bytes, float]] = {}


class Packing:
    """How an answer becomes plain values and one again; both raise NotPlain. Here: as it is."""

    def pack(self, answer: Any) -> Any:
        return answer

    def unpack(self, packed: Any) -> Any:
        return packed


class Seen(NamedTuple):
    """What one look found. `is_early`: this reader is to make the entry anew, before its time."""

    found: store.Found
    answer: Any = UNKNOWN
    is_early: bool = False
    is_stale: bool = False


class Entry:
    """One question's place on Redis."""

    __slots__ = ("digest", "name", "packing", "place", "policy")

    def __init__(self, place: Place, digest: str, packing: Packing, policy: Policy) -> None:
        self.place, self.digest, self.packing, self.policy = place, digest, packing, policy
        self.name = place.slot + digest

    def look(self) -> Seen:
        """In one round trip. Raises RedisAway."""
        began = now() if self.policy.stale else 0.0
        found = local.look(self.place, self.digest)
        if found.payload is None:
            return Seen(found)
        seen = self._opened(found, found.payload)
        if seen.is_early or seen.answer is UNKNOWN:
            local.forget(self.digest)
        if began and seen.answer is not UNKNOWN:
            _remember_valid(found.key, found.stamp or b"", began)
        return seen

    def stale(self, found: store.Found) -> Seen:
        """What was valid as long ago as the caller allows, as far as this process knows."""
        if not self.policy.stale or found.entry is None:
            return Seen(found)
        stamp, _, payload = found.entry.partition(b"\n")
        valid, when = _valid.get(found.key, (b"", 0.0))
        if valid != stamp or now() - when > self.policy.stale:
            return Seen(found)
        return self._opened(found, payload, is_stale=True)

    def packed(self, answer: Any, seconds: int, cost: float) -> bytes:
        """The payload of a new entry. Raises NotPlain."""
        longer = bool(self.policy.stale)
        return dump([time() + seconds, cost, longer, self.packing.pack(answer)], self.name)

    def _opened(self, found: store.Found, payload: bytes, *, is_stale: bool = False) -> Seen:
        try:
            until, cost, is_kept_longer, packed = load(payload, self.name)
            left = until - time()
            if is_kept_longer and left <= 0 and not is_stale:
                return Seen(found)
            return Seen(found, self.packing.unpack(packed), _is_early(left, cost), is_stale)
        except NotPlain:
            return Seen(found)


def _is_early(left: float, cost: float) -> bool:
    """Whether to compute an answer anew that is good for `left` seconds more.

    Each reader draws, and the more likely makes it the dearer and nearer its end it is, so that one
    of many does it before it ends for all: XFetch (A. Vattani, F. Chierichetti, K. Lowenstein,
    "Optimal Probabilistic Cache Stampede Prevention", PVLDB 8(8), 2015). Past its end it is Redis
    that decides: the clock of who made it is another's.
    """
    if not 0 < left < RARELY * cost:
        return False
    return -cost * log(1 - random()) >= left  # noqa: S311 - no secret


def _remember_valid(key: str, stamp: bytes, when: float) -> None:
    if len(_valid) >= MOST_VALID and key not in _valid:
        _valid.clear()
    _valid[key] = stamp, when

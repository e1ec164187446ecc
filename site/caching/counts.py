"""What the cache did in this process: how often, the bytes, and the time.

Outcomes: "hit", "stale" (a hit that the caller allowed), "miss" (asked, and kept), "busy" (a write
is under way), "off" (not in service), "away" (Redis), "not plain" (asked, and cannot be kept).
Beside them stands "computed": answers that were computed at a miss, for the time that took.

Seconds saved = hits * (mean seconds that an answer took to compute - mean seconds of a hit).
"""

import os
import threading
from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar
from typing import NamedTuple

__all__ = [
    "COMPUTED",
    "Key",
    "Tally",
    "clear",
    "count",
    "growth",
    "heard",
    "outcomes",
    "saved",
    "tallies",
    "took",
]

COMPUTED = "computed"

Key = tuple[str, str]
"""(label, outcome)"""


class Tally(NamedTuple):
    """`size`: bytes read at hits, written at misses. `timed` of the `times` took `seconds`."""

    times: int = 0
    size: int = 0
    timed: int = 0
    seconds: float = 0.0


outcomes: Counter[Key] = Counter()
"""How often there was which outcome."""
heard: ContextVar[Callable[[str, str, int, float | None], None] | None]
heard = ContextVar("caching.heard", default=None)
"""Who is told of each count of this request, with count()'s arguments: the debug toolbar."""
_sums: dict[Key, list[float]] = {}  # size, timed, seconds
_lock = threading.Lock()


def count(label: str, outcome: str, size: int = 0, seconds: float | None = None) -> None:
    """One more of it. Part of every hit, so it is short."""
    key = label, outcome
    with _lock:
        outcomes[key] += 1
        if size or seconds is not None:
            _add(key, size, seconds)
    listener = heard.get()
    if listener is not None:
        listener(label, outcome, size, seconds)


def took(label: str, seconds: float) -> None:
    """An answer was computed in that time, not read from the cache."""
    with _lock:
        _add((label, COMPUTED), 0, seconds)


def _add(key: Key, size: int, seconds: float | None) -> None:
    sums = _sums.get(key)
    if sums is None:
        sums = _sums[key] = [0, 0, 0.0]
    sums[0] += size
    if seconds is not None:
        sums[1] += 1
        sums[2] += seconds


def tallies() -> dict[Key, Tally]:
    """All of this process at one instant: a copy."""
    with _lock:
        return {key: _tally(key) for key in outcomes.keys() | _sums.keys()}


def _tally(key: Key) -> Tally:
    size, timed, seconds = _sums.get(key, (0, 0, 0.0))
    return Tally(outcomes.get(key, int(timed)), int(size), int(timed), seconds)


def growth(before: dict[Key, Tally], now: dict[Key, Tally]) -> dict[Key, Tally]:
    """What came between the two. What is less than it was has begun anew."""
    grown = {}
    for key, tally in now.items():
        was = before.get(key, Tally())
        if any(new < old for new, old in zip(tally, was, strict=True)):
            was = Tally()
        if tally != was:
            grown[key] = Tally(*(new - old for new, old in zip(tally, was, strict=True)))  # type: ignore[arg-type]
    return grown


def saved(hit: Tally, computed: Tally) -> float | None:
    """Seconds, by the formula above; None where nothing was computed, or no hit was timed."""
    if not hit.timed or not computed.timed:
        return None
    return hit.times * (computed.seconds / computed.timed - hit.seconds / hit.timed)


def clear() -> None:
    """Nothing was counted."""
    with _lock:
        outcomes.clear()
        _sums.clear()


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()
    clear()


os.register_at_fork(after_in_child=_after_fork)

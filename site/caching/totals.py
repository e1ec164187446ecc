"""What all processes have counted, in one hash on Redis.

Every process of a server adds what it has counted since the last time, every ten seconds and in one
round trip, from a thread that no request waits for: see `caching.metrics`. What a process has
counted in the seconds before it was killed is lost, and so is all when Redis is emptied. An answer
of Redis that is lost on its way is added twice: these are figures for people, not for bills.

    models:{totals}   <label> <tab> <outcome> <tab> times | size | timed | seconds  → a number
                      since → seconds since 1970, by Redis' clock
"""

import os
from collections import defaultdict
from typing import NamedTuple

from caching.conf import settings
from caching.counts import Key, Tally, growth, tallies
from caching.scripts import Script
from caching.store import run_script
from caching.wire import RedisAway, wire

__all__ = ["Totals", "forget", "push", "read"]

SECONDS_KEPT = 30 * 24 * 3600

# KEYS: the hash. ARGV: seconds to live, and pairs of field and number.
ADD = Script(
    """
for i = 2, #ARGV, 2 do redis.call('HINCRBYFLOAT', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('HSETNX', KEYS[1], 'since', redis.call('TIME')[1])
redis.call('EXPIRE', KEYS[1], ARGV[1])
return 1
"""
)

_pushed: dict[Key, Tally] = {}


class Totals(NamedTuple):
    """`since`: seconds since 1970, None where nothing was counted."""

    since: float | None
    tallies: dict[Key, Tally]


def push() -> bool:
    """Add what was counted since the last push. False where Redis is away: then the next one does.

    For one thread of a process.
    """
    if not settings().enabled:
        return True
    now = tallies()
    numbers = [str(one) for pair in _fields(growth(_pushed, now)).items() for one in pair]
    if not numbers:
        return True
    try:
        run_script(ADD, lambda run: [_key()], SECONDS_KEPT, *numbers)
    except RedisAway:
        return False
    _pushed.clear()
    _pushed.update(now)
    return True


def read() -> Totals:
    """All processes' until their last push. Raises RedisAway."""
    said = wire().call(lambda run: ("HGETALL", _key()))
    numbers = dict(zip(map(bytes.decode, said[::2]), map(float, said[1::2]), strict=True))
    since = numbers.pop("since", None)
    found: dict[Key, dict[str, float]] = defaultdict(dict)
    for field, number in numbers.items():
        label, outcome, name = field.split("\t")
        found[label, outcome][name] = number
    return Totals(since, {key: _tally(parts) for key, parts in found.items()})


def forget() -> None:
    """Begin anew. Raises RedisAway."""
    wire().call(lambda run: ("DEL", _key()))


def _fields(grown: dict[Key, Tally]) -> dict[str, float]:
    return {
        f"{label}\t{outcome}\t{name}": number
        for (label, outcome), tally in grown.items()
        for name, number in tally._asdict().items()
        if number
    }


def _tally(parts: dict[str, float]) -> Tally:
    times, size, timed = (int(parts.get(name, 0)) for name in ("times", "size", "timed"))
    return Tally(times, size, timed, parts.get("seconds", 0.0))


def _key() -> str:
    return f"{settings().prefix}:{{totals}}"


os.register_at_fork(after_in_child=_pushed.clear)

"""Many entries of one place in one round trip, read and kept. Names are those of `store`."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from caching.conf import settings
from caching.places import Place
from caching.scripts import Script
from caching.store import Found, establish, run_script
from caching.wire import wire

__all__ = ["LASTING", "Looked", "Made", "established", "keep_many", "look_many"]

LASTING = b"lasting"
"""Instead of a stamp: of an entry that is right for as long as its key is asked for."""

# KEYS: entries. ARGV: for each what it becomes, and its seconds to live.
KEEP = Script(
    """
for i, key in ipairs(KEYS) do
    redis.call('SET', key, ARGV[2 * i - 1], 'EX', ARGV[2 * i])
end
return 1
"""
)


class Looked(NamedTuple):
    """`stamp`: the tokens as they are, None where one is missing. `entries`: one a digest."""

    stamp: bytes | None
    values: Sequence[bytes | None]
    entries: Sequence[bytes | None]
    keys: Sequence[str]

    def payload(self, at: int, *, lasting: bool) -> bytes | None:
        """Of that entry, where it is valid."""
        stamp, entry = LASTING if lasting else self.stamp, self.entries[at]
        if entry is None or not stamp or not entry.startswith(stamp + b"\n"):
            return None
        return entry[len(stamp) + 1 :]


class Made(NamedTuple):
    """A new entry."""

    key: str
    stamp: bytes
    payload: bytes
    seconds: int


def look_many(place: Place, digests: Sequence[str]) -> Looked:
    """Tokens and entries, in one round trip. Raises RedisAway."""
    keys: list[str] = []

    def command(run: str) -> tuple[str, ...]:
        prefix = f"{settings().prefix}:{run}:{{{place.slot}}}:"
        keys[:] = [*(f"{prefix}v{name}" for name in place.names), *(prefix + d for d in digests)]
        return ("MGET", *keys)

    answer = wire().call(command)
    tokens = len(place.names)
    values = answer[:tokens]
    stamp = None if None in values else b"|".join(values)
    return Looked(stamp, values, answer[tokens:], keys[tokens:])


def established(place: Place, looked: Looked) -> bytes | None:
    """The stamp for new entries, None: make none. As `store.establish`."""
    return establish(place, Found(None, None, looked.values, ""))


def keep_many(made: Sequence[Made]) -> None:
    """Entries of one place, in one round trip. Raises RedisAway."""
    told: list[Any] = []
    for one in made:
        told += [one.stamp + b"\n" + one.payload, one.seconds]
    run_script(KEEP, lambda run: [one.key for one in made], *told)

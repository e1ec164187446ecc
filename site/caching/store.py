"""What is kept on Redis, and the steps that readers and writers take there: see the package.

Every key of a place has the place in braces, so that Redis Cluster keeps them together:

    models:<run>:{a42}:v               the token, and one for each table of the catalog
    models:<run>:{a42}:<digest>        an entry: the tokens it was made under, a line feed, payload
"""

import secrets
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from caching.clock import now
from caching.conf import settings
from caching.places import Place
from caching.scripts import MARK, SETTLE, SWAP, Script
from caching.sql import ask
from caching.wire import NO_SCRIPT, wire

__all__ = ["Found", "establish", "fill", "look", "mark", "run_script", "settle"]

TOKEN_SECONDS = 30 * 24 * 3600
MOST_PENDING = 1000
LINE_FEED = 10
OWN_NUMBER = "SELECT pg_current_xact_id()::text::bigint"
IN_FLIGHT = """
SELECT pg_snapshot_xmin(now)::text::bigint, pg_snapshot_xmax(now)::text::bigint
FROM pg_current_snapshot() now
"""


class Found(NamedTuple):
    """`payload`: of a valid entry. `stamp`: what a new entry is to begin with, None: make none.

    `values`: the tokens as they are on Redis. `key`: of the entry. `entry`: whatever lies there,
    valid or not.
    """

    payload: bytes | None
    stamp: bytes | None
    values: Sequence[bytes | None]
    key: str
    entry: bytes | None = None


def look(place: Place, digest: str) -> Found:
    """Tokens and entry, in one round trip. Raises RedisAway."""
    keys: list[str] = []

    def command(run: str) -> tuple[str, ...]:
        prefix = f"{settings().prefix}:{run}:{{{place.slot}}}:"
        keys[:] = [*(f"{prefix}v{name}" for name in place.names), prefix + digest]
        return ("MGET", *keys)

    *values, entry = wire().call(command)
    stamp = values[0] if len(values) == 1 else b"|".join(value or b"" for value in values)
    if entry is not None and stamp and entry.startswith(stamp) and entry[len(stamp)] == LINE_FEED:
        return Found(entry[len(stamp) + 1 :], stamp, values, keys[-1], entry)
    usable = all(value is not None and _is_usable(value, place) for value in values)
    return Found(None, stamp if usable else None, values, keys[-1], entry)


def fill(found: Found, stamp: bytes, payload: bytes, seconds: int) -> None:
    """Keep an entry made by SQL that ran after `stamp` was read. Raises RedisAway.

    On a server of another run than the stamp's it lies under a name that nobody asks for.
    """
    wire().call(lambda run: ("SET", found.key, stamp + b"\n" + payload, "EX", seconds))


def mark(place: Place, writer: str) -> None:
    """Before COMMIT: from now on nothing of the place is valid. Raises RedisAway."""
    arguments = (writer, _random(), place.alias, place.version, TOKEN_SECONDS)
    _run(MARK, place.slot, place.names, *arguments, urgent=True)


def settle(place: Place, writer: str) -> None:
    """The writer's transaction has ended. Raises RedisAway, after which readers recover.

    Where a mark could be made this is tried too, though others may have failed a moment ago.
    """
    _run(SETTLE, place.slot, place.names, writer, _random(), TOKEN_SECONDS, urgent=True)


def establish(place: Place, found: Found) -> bytes | None:
    """Make the tokens usable where that can be proved now; the stamp for a new entry, or None.

    Asks the database who is in flight, so never inside a transaction. Raises RedisAway.
    """
    if found.stamp is not None:
        return found.stamp
    pairs = zip(place.names, found.values, strict=True)
    values = [_established(place, name, value) for name, value in pairs]
    usable = [value for value in values if value is not None]
    return b"|".join(usable) if len(usable) == len(values) else None


def _established(place: Place, name: str, value: bytes | None) -> bytes | None:
    """One token. None where it is to stay as it is for now."""
    if value is not None and _is_usable(value, place):
        return value
    tag = f"@{place.alias}:{place.version}"
    if value is None or _is_pending_for_long(place, name, value) or _is_elsewhere(value, place):
        value = _swapped(place, name, value or b"", f"?{_random()}{tag}")
    if value is None or not value.startswith(b"?") or not _is_here(value, place):
        return None
    return _out_of_quarantine(place, name, value, tag)


def _out_of_quarantine(place: Place, name: str, value: bytes, tag: str) -> bytes | None:
    """The token, once everybody who may have marked an earlier one has ended.

    A number of our own is higher than that of everybody who is in flight: the snapshot alone knows
    nothing of those who began after the last one ended.
    """
    random, _, dated = value.partition(b"@")[0].partition(b"#")
    until = int(dated) if dated else ask(place.alias, OWN_NUMBER)[0]
    oldest, following = ask(place.alias, IN_FLIGHT)
    if oldest >= until:
        return _swapped(place, name, value, f"={_random()}{tag}")
    if not dated:
        _swapped(place, name, value, f"{random.decode()}#{until}{tag}")
    elif until > following:  # dated by a server of another history, which has failed over since
        _swapped(place, name, value, f"?{_random()}{tag}")
    return None


def _is_usable(value: bytes, place: Place) -> bool:
    return value[:1] == b"=" and _is_here(value, place)


def _is_here(value: bytes, place: Place) -> bool:
    return value.rpartition(b"@")[2].rpartition(b":")[0].decode() == place.alias


def _is_elsewhere(value: bytes, place: Place) -> bool:
    """Whether the token was made on another database, by an older map than ours."""
    version = int(value.rpartition(b":")[2])
    return not _is_here(value, place) and version < place.version


def _is_pending_for_long(place: Place, name: str, value: bytes) -> bool:
    """Whether this process has seen one writer pending for longer than a commit takes.

    Others may come and go meanwhile.
    """
    if value[:1] != b"!":
        return False
    key, moment = (place.slot, name), now()
    before = _pending.get(key, {})
    writers = value[1 : value.index(b"!", 1)].rstrip(b",").split(b",")
    if not before and len(_pending) > MOST_PENDING:
        _pending.clear()
    _pending[key] = since = {writer: before.get(writer, moment) for writer in writers}
    return moment - min(since.values()) > settings().patience_seconds


_pending: dict[tuple[str, str], dict[bytes, float]] = {}
"""Token → writer that was seen pending → since when."""


def _swapped(place: Place, name: str, before: bytes, after: str) -> bytes | None:
    done = _run(SWAP, place.slot, (name,), before, after, TOKEN_SECONDS)
    return after.encode() if done else None


def _run(
    script: Script, slot: str, names: tuple[str, ...], *arguments: Any, urgent: bool = False
) -> Any:
    def keys(run: str) -> list[str]:
        return [f"{settings().prefix}:{run}:{{{slot}}}:v{name}" for name in names]

    return run_script(script, keys, *arguments, urgent=urgent)


def run_script(
    script: Script, keys: Callable[[str], Sequence[str]], *arguments: Any, urgent: bool = False
) -> Any:
    """What it returns. `keys`: those for the run that it is told. Raises RedisAway."""

    def command(run: str, verb: str = "EVALSHA", what: str = script.sha) -> tuple[Any, ...]:
        found = keys(run)
        return (verb, what, len(found), *found, *arguments)

    answer = wire().call(command, urgent=urgent)
    if answer is NO_SCRIPT:
        answer = wire().call(lambda run: command(run, "EVAL", script.text), urgent=urgent)
    return answer


def _random() -> str:
    return secrets.token_hex(8)

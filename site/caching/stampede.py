"""One computes, and the others wait for it or see what was valid a moment ago.

Who is to compute holds a lock beside the entry: a key with the life of a waiter's patience, so that
of a dead computer nothing is left when the waiters give up. The lock is taken only while the entry
is what its taker has seen, so nobody computes what was kept in between.

    models:<run>:{a42}:<digest>!       who computes it, or "-": it cannot be kept, so never wait
"""

import secrets
from random import uniform
from time import sleep
from typing import Any, NamedTuple

from caching.clock import now
from caching.entries import UNKNOWN, Entry, Seen
from caching.scripts import Script
from caching.store import Found, run_script

__all__ = ["Turn", "await_turn", "claim", "give_up", "never_kept", "release"]

FIRST_PAUSE, LONGEST_PAUSE = 0.005, 0.05  # seconds between two looks
LONGEST_EARLY = 30.0  # seconds that a lock lives for which nobody waits
MINE, CHANGED, NEVER_KEPT = b"", b"+", b"-"
SIGNATURE = 16

# KEYS: entry, lock. ARGV: how the entry began that was seen ('' for none), name, milliseconds.
CLAIM = Script(
    """
local seen = ARGV[1]
if seen == '' then
    if redis.call('EXISTS', KEYS[1]) == 1 then return '+' end
elseif redis.call('GETRANGE', KEYS[1], 0, #seen - 1) ~= seen then return '+' end
local held = redis.call('GET', KEYS[2])
if held then return held end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
return ''
"""
)

# KEYS: entry, lock. ARGV: name, new entry ('' for none), its seconds, what the lock becomes.
RELEASE = Script(
    """
if ARGV[2] ~= '' then redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3]) end
if redis.call('GET', KEYS[2]) == ARGV[1] then
    if ARGV[4] == '' then redis.call('DEL', KEYS[2])
    else redis.call('SET', KEYS[2], ARGV[4], 'KEEPTTL') end
end
return 1
"""
)


class Turn(NamedTuple):
    """What a wait came to: an answer, or the turn to compute it.

    `stamp`: what a new entry is to begin with, None: keep none. `lock`: "" for none.
    """

    seen: Seen
    stamp: bytes | None
    lock: str = ""


def await_turn(entry: Entry, seen: Seen, stamp: bytes | None) -> Turn:
    """Where `seen` has no answer: wait as its policy says. Raises RedisAway."""
    deadline, pause = now() + entry.policy.wait, FIRST_PAUSE
    while True:
        held = CHANGED
        if stamp is not None:
            held, lock = claim(seen.found, entry.policy.wait)
            if held in (MINE, NEVER_KEPT):
                return Turn(seen, stamp, lock)
        stale = entry.stale(seen.found)
        if stale.answer is not UNKNOWN:
            return Turn(stale, stamp)
        if stamp is None or now() >= deadline:
            return Turn(seen, stamp)
        if held != CHANGED:
            sleep(pause * uniform(0.5, 1))  # noqa: S311 - no secret
            pause = min(2 * pause, LONGEST_PAUSE)
        seen = entry.look()
        stamp = seen.found.stamp
        if seen.answer is not UNKNOWN:
            return Turn(seen, stamp)


def claim(found: Found, seconds: float) -> tuple[bytes, str]:
    """(MINE, the lock), or (CHANGED, NEVER_KEPT or who computes it, ""). Raises RedisAway."""
    name = secrets.token_hex(8)
    begin = b""
    if found.entry is not None:
        begin = found.entry[: found.entry.index(b"\n") + 1 + SIGNATURE]
    life = max(1, int(1000 * (seconds or LONGEST_EARLY)))
    held = _run(CLAIM, found.key, begin, name, life)
    return (held, name) if held == MINE else (held, "")


def release(turn: Turn, entry: bytes, seconds: int) -> None:
    """Keep the entry that was made under the lock. Raises RedisAway."""
    _run(RELEASE, turn.seen.found.key, turn.lock, entry, seconds, b"")


def never_kept(turn: Turn) -> None:
    """The answer is not of a kind that can be kept: nobody need wait for it. Raises RedisAway."""
    if turn.lock:
        _run(RELEASE, turn.seen.found.key, turn.lock, b"", 0, NEVER_KEPT)


def give_up(turn: Turn) -> None:
    """Nothing was computed: whoever waits may. Raises RedisAway."""
    if turn.lock:
        _run(RELEASE, turn.seen.found.key, turn.lock, b"", 0, b"")


def _run(script: Script, key: str, *arguments: Any) -> Any:
    return run_script(script, lambda run: (key, key + "!"), *arguments)

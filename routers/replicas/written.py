"""Up to where an account has been written: on Redis, for every process to ask.

One hash for each account on its shard, and one for work on all accounts of a shard:

    lsn      a position in the shard's WAL that holds every finished write: 16 hexadecimal digits
    <token>  a writer that has begun and has not finished; the second at which it is given up

A position never goes back. What is not there is not known, and never means "no write": whoever
finds nothing reads from the primary and writes down the primary's position. So a Redis that was
emptied, or has evicted the hash, costs a few reads on the primary and nothing else.
"""

import os
from dataclasses import dataclass
from functools import cache
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any

from routers.conf import settings
from routers.shard_map.announce import redis_errors

if TYPE_CHECKING:
    import redis

__all__ = ["RedisAway", "Seen", "begin", "finish", "look", "name_of", "settle"]

PREFIX = "routers:written:"
ANSWER_SECONDS = 0.25
REST_SECONDS = 1.0  # between questions to a Redis that is away; writes are told all the same

BEGIN = """
local now = tonumber(redis.call('TIME')[1])
redis.call('HSET', KEYS[1], ARGV[1], now + ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[2])
"""
RECORD = """
local lsn, token, given_up = ARGV[1], ARGV[2], tonumber(ARGV[3])
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
    local field, value = all[i], all[i + 1]
    if field == 'lsn' then
        if value > lsn then lsn = value end
    elseif field == token or tonumber(value) <= given_up then
        redis.call('HDEL', KEYS[1], field)
    end
end
redis.call('HSET', KEYS[1], 'lsn', lsn)
redis.call('EXPIRE', KEYS[1], ARGV[4])
"""
LOOK = """
local now = tonumber(redis.call('TIME')[1])
local state, newest = 'known', ''
for _, key in ipairs(KEYS) do
    local lsn, all = false, redis.call('HGETALL', key)
    for i = 1, #all, 2 do
        local field, value = all[i], all[i + 1]
        if field == 'lsn' then
            lsn = value
            if lsn > newest then newest = lsn end
        elseif tonumber(value) > now then
            return {'writing', '', now}
        else
            state = 'unknown'
        end
    end
    if not lsn then state = 'unknown' end
end
return {state, newest, now}
"""


class RedisAway(Exception):
    """Redis does not answer, or has not a moment ago."""


@dataclass(frozen=True)
class Seen:
    """`state`: "known", "writing" (somebody is at it) or "unknown"; `lsn` counts where known.

    `at` is Redis' second of the answer.
    """

    state: str
    lsn: str
    at: int


def name_of(primary: str, account_id: int | None) -> str:
    """What is written down: an account on a shard, or (None) all accounts there."""
    return f"{primary}:{'*' if account_id is None else account_id}"


def begin(name: str, token: str) -> None:
    """A write is about to begin. Without Redis nobody hears of it: see `finish`."""
    try:
        _run(BEGIN, [name], token, settings().replica_memory_seconds)
    except redis_errors():
        _rest()


def finish(name: str, token: str, lsn: str) -> None:
    """The writes of that token have ended, and `lsn` holds them.

    Without Redis this process remembers it for as long as Redis may hold an older position, heeds
    it, and says it as soon as Redis answers again.
    """
    try:
        _record(name, token, lsn)
        _tell()
    except redis_errors():
        _rest()
        with _lock:
            before = _untold.get(name, ("", 0.0))[0]
            _untold[name] = max(before, lsn), monotonic() + settings().replica_memory_seconds


def settle(name: str, lsn: str, seen: Seen) -> None:
    """Write down the primary's position where nothing was known; writers given up are forgotten."""
    try:
        _record(name, "", lsn, seen.at)
    except redis_errors():
        _rest()


def look(names: list[str]) -> Seen:
    """What is known of all these together. Raises RedisAway."""
    if monotonic() < _away_until:
        raise RedisAway
    try:
        state, lsn, at = _run(LOOK, names)
        lsn = max(lsn, *(_untold.get(name, ("", 0.0))[0] for name in names))
        _tell()
    except redis_errors() as error:
        _rest()
        raise RedisAway from error
    return Seen(state, lsn, at)


# What Redis could not be told yet: name → (position, until when Redis may hold an older one).
_untold: dict[str, tuple[str, float]] = {}
_lock = Lock()
_away_until = 0.0


def _tell() -> None:
    while _untold:
        with _lock:
            name, (lsn, until) = next(iter(_untold.items()), ("", ("", 0.0)))
        if name and monotonic() < until:
            _record(name, "", lsn)
        with _lock:
            if _untold.get(name) == (lsn, until):
                del _untold[name]


def _record(name: str, token: str, lsn: str, given_up: int = 0) -> None:
    _run(RECORD, [name], lsn, token, given_up, settings().replica_memory_seconds)


def _run(script: str, names: list[str], *arguments: Any) -> Any:
    keys = [PREFIX + name for name in names]
    return _client(settings().replica_redis or "").register_script(script)(keys, arguments)


def _rest() -> None:
    global _away_until
    _away_until = monotonic() + REST_SECONDS


@cache
def _client(url: str) -> "redis.Redis":
    import redis  # only projects with SHARDING["REPLICA_REDIS"] or ["MAP_REDIS"] need it
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return redis.Redis.from_url(
        url,
        socket_connect_timeout=ANSWER_SECONDS,
        socket_timeout=ANSWER_SECONDS,
        decode_responses=True,
        retry=Retry(NoBackoff(), 1),  # a kept connection may have died with an earlier Redis
    )


def _forget() -> None:
    """A forked child may have inherited a lock that somebody held."""
    global _lock
    _lock = Lock()


os.register_at_fork(after_in_child=_forget)

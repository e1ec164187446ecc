"""The cache's Prometheus metrics, in the registry of `routers.health.metrics`.

Once a second, from the thread that watches the shard map, a process adds what it has counted since:
no hit waits for it. Every ten seconds it adds them to `caching.totals` too.

`start()` belongs into a server's entry point, after PROMETHEUS_MULTIPROC_DIR is set.
"""

import os

from prometheus_client import Counter, Gauge

from caching import totals
from caching.counts import Key, Tally, growth, tallies
from caching.service import known
from caching.wire import is_resting
from routers.health.metrics import registry
from routers.shard_map import watch

__all__ = ["start"]

TICKS_TO_PUSH = 10
NAMES = ["label", "outcome"]

ANSWERS = Counter(
    "caching_answers", "Questions to the cache, by what became of them", NAMES, registry=registry
)
BYTES = Counter(
    "caching_bytes", "Bytes read at hits and written at misses", NAMES, registry=registry
)
TIMED = Counter(
    "caching_timed",
    "Hits, and computed answers, that were timed",
    NAMES,
    registry=registry,
)
SECONDS = Counter(
    "caching_seconds", "Seconds that the timed ones took together", NAMES, registry=registry
)
AWAY = Gauge(
    "caching_redis_away",
    "1 while Redis is left alone, for it did not answer; of several processes any",
    multiprocess_mode="livemax",
    registry=registry,
)
IN_SERVICE = Gauge(
    "caching_in_service",
    "1 where the cache of a database is in service, as last heard; of several processes the worst",
    ["database"],
    multiprocess_mode="livemin",
    registry=registry,
)


class _Told:
    """What the metrics have already."""

    tallies: dict[Key, Tally] = {}
    ticks = 0


def start() -> None:
    """Tell Prometheus what this process counts from now on. Twice is once."""
    watch.tell_every_second(tick)


def tick(version: int = 0, age_seconds: float = 0.0) -> None:
    """What the watcher of the map calls every second."""
    now = tallies()
    for key, tally in growth(_Told.tallies, now).items():
        _add(key, tally)
    _Told.tallies = now
    AWAY.set(is_resting())
    for alias, is_on in known().items():
        IN_SERVICE.labels(alias).set(is_on)
    _Told.ticks += 1
    if _Told.ticks % TICKS_TO_PUSH == 0:
        totals.push()


def _add(key: Key, tally: Tally) -> None:
    if key[1] != "computed":
        ANSWERS.labels(*key).inc(tally.times)
    if tally.size:
        BYTES.labels(*key).inc(tally.size)
    if tally.timed:
        TIMED.labels(*key).inc(tally.timed)
        SECONDS.labels(*key).inc(tally.seconds)


def _forked() -> None:
    _Told.tallies = {}


os.register_at_fork(after_in_child=_forked)

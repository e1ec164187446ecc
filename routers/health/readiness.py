"""How this process stands: its map, the catalog, every shard. What /readyz shows."""

import os
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from threading import Lock
from typing import Any

from django.db import Error

from routers.catalog import contact
from routers.conf import CATALOG, settings
from routers.deadline import own_connection
from routers.shard_map import Source, confirmed_at, held_map
from routers.shard_map.watch import redis_state

__all__ = ["Database", "Report", "report"]

ANSWER_SECONDS = 1.0
KEPT_SECONDS = 1.0
STALE_LOOKS = 3  # so many missed looks at the catalog in a row


@dataclass(frozen=True)
class Database:
    """How one database answered: milliseconds for a login and a trivial query, or the error."""

    up: bool
    milliseconds: float | None = None
    error: str | None = None


@dataclass(frozen=True)
class Report:
    """What /readyz shows. `ready`: known accounts can be served; `degraded`: what is amiss."""

    ready: bool
    degraded: list[str]
    map: dict[str, Any]
    catalog: Database
    shards: dict[str, Database]
    replicas: dict[str, Database]

    def families(self) -> Iterable[Any]:
        """As metrics."""
        from routers.health.metrics import gauge

        every = {CATALOG: self.catalog, **self.shards, **self.replicas}
        times = {a: d.milliseconds / 1000 for a, d in every.items() if d.milliseconds is not None}
        text = "Whether the database answers a trivial query within a second"
        yield gauge("routers_database_up", text, "database", {a: d.up for a, d in every.items()})
        text = "Seconds of a login and a trivial query, waiting for the pool included"
        yield gauge("routers_database_seconds", text, "database", times)


class _Kept:
    """The last report, so that many probes ask the databases no more often than one."""

    lock = Lock()
    report: Report | None = None
    made_at = 0.0


def _new_lock() -> None:
    """A forked child's own: a thread that its parent had may have held the old one."""
    _Kept.lock = Lock()


os.register_at_fork(after_in_child=_new_lock)


def report() -> Report:
    """The state of this process and of all databases; at most a second old."""
    with _Kept.lock:
        if _Kept.report is None or time.monotonic() - _Kept.made_at > KEPT_SECONDS:
            _Kept.report, _Kept.made_at = _report(), time.monotonic()
        return _Kept.report


def _report() -> Report:
    shards, replicas = sorted(settings().shards), sorted(chain(*settings().replicas.values()))
    answers = _ask_all([CATALOG, *shards, *replicas])
    catalog = answers[CATALOG]
    snapshot, source = held_map()
    degraded = [*_map_trouble(catalog)]
    degraded += [f"{a} away: {answers[a].error}" for a in shards + replicas if not answers[a].up]
    shown = {
        "version": snapshot.version if snapshot else None,
        "source": str(source) if snapshot else None,
        "age_seconds": _map_age(),
        "last_contact": _moment(contact.answered_at),
        "redis": redis_state(),
    }
    return Report(
        ready=snapshot is not None and any(answers[shard].up for shard in shards),
        degraded=degraded,
        map=shown,
        catalog=catalog,
        shards={shard: answers[shard] for shard in shards},
        replicas={replica: answers[replica] for replica in replicas},
    )


def _map_age() -> float | None:
    """Seconds since the catalog last confirmed this process's map; None: never."""
    confirmed = confirmed_at()
    return round(time.time() - confirmed, 1) if confirmed else None


def _map_trouble(catalog: Database) -> Iterable[str]:
    snapshot, source = held_map()
    if snapshot is None:
        yield "no map"
    elif source is Source.DISK:
        yield "map from disk"
    age = _map_age()
    if age is not None and age > STALE_LOOKS * settings().map_poll_seconds_with_redis:
        yield f"map not confirmed for {age:.0f} s"
    if contact.away_since:
        yield f"catalog away since {_moment(contact.away_since)}: {contact.error}"
    elif not catalog.up:
        yield f"catalog away: {catalog.error}"
    if redis_state() == "away":
        yield "Redis away: a new map is found by polling"


def _ask_all(aliases: list[str]) -> dict[str, Database]:
    """Every database at the same time; who has not answered in time is away."""
    pool = ThreadPoolExecutor(max_workers=min(len(aliases), 32), thread_name_prefix="probe")
    asked = {alias: pool.submit(_ask, alias) for alias in aliases}
    wait(asked.values(), timeout=ANSWER_SECONDS + 0.5)
    pool.shutdown(wait=False, cancel_futures=True)
    late = Database(up=False, error=f"no answer within {ANSWER_SECONDS:.0f} s")
    return {alias: asked[alias].result() if asked[alias].done() else late for alias in aliases}


def _ask(alias: str) -> Database:
    began = time.perf_counter()
    try:
        with own_connection(alias, ANSWER_SECONDS) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error as error:
        return Database(up=False, error=(str(error).strip() or "no answer").splitlines()[0])
    return Database(up=True, milliseconds=round((time.perf_counter() - began) * 1000, 1))


def _moment(unix: float | None) -> str | None:
    return datetime.fromtimestamp(unix, UTC).isoformat(timespec="seconds") if unix else None

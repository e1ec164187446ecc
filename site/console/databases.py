"""How every database stands: one look at each, all at once, in bounded time, with any of them away.

Whether and how fast each answers is what /readyz says; those that do are asked for figures, which
is one statement for each.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from django.core.cache import cache

from console.aside import Aside
from routers.conf import CATALOG, settings
from routers.health.pools import pools
from routers.health.readiness import Database, Report, report
from routers.inspection.reading import Reader, ask_each

__all__ = ["Figures", "Look", "Pool", "look"]

SECONDS = 2.0
POOLER_SECONDS = 3.0
SAMPLES = "console:samples"
SAMPLE_SECONDS = 300  # an older one says nothing of now

SERVER = """
    SELECT pg_database_size(current_database()),
           (SELECT sum(numbackends) FROM pg_stat_database),
           current_setting('max_connections'),
           (SELECT xact_commit + xact_rollback FROM pg_stat_database
            WHERE datname = current_database()),
           CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_lsn()::text END
"""
BEHIND = """
    SELECT pg_database_size(current_database()),
           (SELECT sum(numbackends) FROM pg_stat_database),
           current_setting('max_connections'),
           pg_wal_lsn_diff(%s::pg_lsn, pg_last_wal_replay_lsn())::bigint,
           extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())
"""


@dataclass
class Figures:
    """What one database says of itself; None is not known. `of`: the primary of a replica."""

    alias: str
    milliseconds: float | None = None
    error: str | None = None
    size_bytes: int | None = None
    connections: int | None = None
    most_connections: int | None = None
    transactions: int | None = None
    per_second: float | None = None
    position: str | None = None
    lag_bytes: int | None = None
    lag_seconds: float | None = None
    replicas: list["Figures"] = field(default_factory=list)


@dataclass(frozen=True)
class Pool:
    """Who waits at all poolers for one database: clients, and seconds of the longest."""

    waiting: int
    seconds: float


@dataclass(frozen=True)
class Look:
    """All databases. `pools`: the poolers' name of a database → its waits; None: not known."""

    report: Report
    catalog: Figures
    shards: list[Figures]
    pools: dict[str, Pool] | None
    poolers_away: list[str]


def look() -> Look:
    """Everything at once; about SECONDS and a half where something is frozen. Never raises."""
    asked = Aside(_waits)
    now = report()
    every = _figures(now)
    waits, away = asked.answer(POOLER_SECONDS) or (None, ["those asked last"])
    shards = [every[shard] for shard in sorted(settings().shards)]
    return Look(now, every[CATALOG], shards, waits, away)


def _figures(now: Report) -> dict[str, Figures]:
    """Alias → figures of the catalog and all shards, each with those of its replicas."""
    primaries = {CATALOG: now.catalog, **now.shards}
    found = {alias: _begun(alias, answer) for alias, answer in primaries.items()}
    replicas = {alias: _begun(alias, answer) for alias, answer in now.replicas.items()}
    _fill(found, dict.fromkeys(found))
    _rate(found, time.time())
    of = {replica: p for p, names in settings().replicas.items() for replica in names}
    _fill(replicas, {alias: found[of[alias]].position for alias in replicas})
    for alias, figures in sorted(replicas.items()):
        found[of[alias]].replicas.append(figures)
    return found


def _begun(alias: str, answer: Database) -> Figures:
    return Figures(alias, answer.milliseconds, None if answer.up else answer.error or "no answer")


def _fill(every: Mapping[str, Figures], positions: Mapping[str, str | None]) -> None:
    """Ask those that are there. With a position of the primary's it is a replica."""

    def ask(opened: Reader) -> None:
        figures = every[opened.connection.alias]
        if not opened.is_postgresql:
            path = Path(str(opened.connection.settings_dict["NAME"]))
            figures.size_bytes = path.stat().st_size if path.is_file() else None
        elif (position := positions[figures.alias]) is not None:
            _read_replica(figures, opened.rows(BEHIND, [position])[0])
        else:
            _read_primary(figures, opened.rows(SERVER)[0])

    there = [alias for alias, figures in every.items() if figures.error is None]
    for alias, error in ask_each(there, ask, SECONDS).items():
        if error is not None:
            every[alias].error = error


def _read_primary(figures: Figures, row: tuple[object, ...]) -> None:
    size, connections, most, transactions = (int(str(number)) for number in row[:4])
    figures.size_bytes, figures.transactions = size, transactions
    figures.connections, figures.most_connections = connections, most
    figures.position = None if row[4] is None else str(row[4])


def _read_replica(figures: Figures, row: tuple[object, ...]) -> None:
    figures.size_bytes, figures.connections, figures.most_connections = (
        int(str(number)) for number in row[:3]
    )
    if row[3] is not None:
        figures.lag_bytes = max(int(str(row[3])), 0)  # it may have replayed more since
        if figures.lag_bytes == 0:
            figures.lag_seconds = 0.0  # whatever the age of what it replayed last
        elif row[4] is not None:
            figures.lag_seconds = float(str(row[4]))


_last: dict[str, tuple[float, int]] = {}


def _rate(every: Mapping[str, Figures], now: float) -> None:
    """Transactions a second since the sample before, which Redis or this process has."""
    global _last
    before = cache.get(SAMPLES) or _last
    for alias, figures in every.items():
        moment, number = before.get(alias, (0.0, 0))
        if figures.transactions is not None and 0.5 < now - moment < SAMPLE_SECONDS:
            more = figures.transactions - number
            figures.per_second = more / (now - moment) if more >= 0 else None
    _last = before | {
        alias: (now, figures.transactions)
        for alias, figures in every.items()
        if figures.transactions is not None
    }
    cache.set(SAMPLES, _last, SAMPLE_SECONDS)


def _waits() -> tuple[dict[str, Pool] | None, list[str]]:
    """Database → who waits for it at all poolers together; and the poolers that do not answer.

    None instead of the first where the site has no login at their consoles.
    """
    if not settings().pooler_consoles:
        return None, []
    waiting: dict[str, int] = {}
    longest: dict[str, float] = {}
    away: list[str] = []
    for sample in chain.from_iterable(family.samples for family in pools()):
        database = sample.labels.get("database", "")
        if sample.name == "routers_pooler_up" and not sample.value:
            away.append(sample.labels["pooler"])
        elif sample.name == "routers_pool_clients_waiting":
            waiting[database] = waiting.get(database, 0) + int(sample.value)
        elif sample.name == "routers_pool_wait_seconds":
            longest[database] = max(longest.get(database, 0.0), sample.value)
    return {name: Pool(waiting[name], longest.get(name, 0.0)) for name in waiting}, away

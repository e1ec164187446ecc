"""The sessions table of an account with a million sessions: without the cache, cold, and warm.

Whole requests, as a person who is logged in makes them: session, person, account and page.
"""

import json
import statistics
import sys
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import Any

import redis
from rich.table import Table

from tests.bench.cluster import config, environment, manage, superuser
from tests.bench.side import Side
from tests.variants import CHECKOUT

__all__ = ["WAYS", "Way", "bench_sessions", "sessions_table"]

SLUG = "acme-analytics"
PEOPLE, TIMES = 200_000, 8
BASE = 10**14  # far above the numbers that the databases give; twelve hexadecimal digits
WARM_SECONDS = 60.0

WAYS = ("uncached", "cold", "after a write", "warm models", "warm fragments")
"""Without CACHING; with an empty Redis, where nothing may be kept at first; with the fragments of
the rows, which last, and nothing else; with models and no fragments; with both."""

PAGES = {
    "newest first": "",
    "best result first": "?sort=-result",
    "search for a name": "?q=lovelace",
}

# Without triggers and foreign keys: this is not what is measured. Of 5,000 people one is found.
SEED = """
SET session_replication_role = replica;
INSERT INTO assessments_candidate (id, account_id, email, name, created_at)
SELECT {base} + i, {account}, 'p' || i || '@bench.example',
    CASE i % 5000 WHEN 0 THEN 'Ada Lovelace ' ELSE 'Person ' END || i, now()
FROM generate_series(0, {people} - 1) AS i;
INSERT INTO assessments_testsession (id, account_id, code, test_id, candidate_id, country_id,
    status, created_at, started_at, finished_at, judged_at, score, maximum, similarity)
SELECT {base} + i, {account}, upper(lpad(to_hex({base} + i), 12, '0')),
    tests.ids[1 + i % array_length(tests.ids, 1)], {base} + i % {people}, NULL, 'closed',
    began, began + interval '1 hour', began + interval '2 hours', began + interval '2 hours',
    i % 300, 300, i % 40
FROM generate_series(0, {sessions} - 1) AS i,
    LATERAL (SELECT now() - i * interval '1 minute' AS began) AS times,
    (SELECT array_agg(id) AS ids FROM assessments_test WHERE account_id = {account}) AS tests;
RESET session_replication_role;
"""
TABLES = ("assessments_candidate", "assessments_testsession")


@dataclass
class Way:
    """Of one way to one page: seconds of each request by round; of one request in each round the
    queries of PostgreSQL and the round trips to Redis."""

    seconds: list[list[float]] = field(default_factory=list)
    asked: list[tuple[int, int]] = field(default_factory=list)

    def add(self, told: dict[str, Any]) -> None:
        self.seconds.append(told["seconds"])
        self.asked.append((told["queries"], told["trips"]))

    @property
    def queries(self) -> int:
        return statistics.median_low(queries for queries, _ in self.asked)

    @property
    def trips(self) -> int:
        """Once a second there is one more, and none where Redis took too long to answer."""
        return statistics.median_low(trips for _, trips in self.asked)

    @property
    def p50(self) -> float:
        return statistics.median(second for row in self.seconds for second in row)

    @property
    def p95(self) -> float:
        return statistics.quantiles((second for row in self.seconds for second in row), n=20)[-1]

    def ratio(self, other: "Way") -> float:
        """Of the medians of each round, in the median."""
        rounds = zip(self.seconds, other.seconds, strict=True)
        return statistics.median(statistics.median(a) / statistics.median(b) for a, b in rounds)


def seed(account: int, shard: str, sessions: int) -> float:
    """The account's sessions are as many as asked for; returns the seconds that it took."""
    began = time.monotonic()
    with closing(superuser(shard)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM assessments_testsession WHERE account_id = %s", [account]
        )
        if (lacking := sessions - cursor.fetchone()[0]) > 0:
            people = min(PEOPLE, lacking)
            cursor.execute(SEED.format(base=BASE, account=account, people=people, sessions=lacking))
        for table in TABLES:
            cursor.execute(f"VACUUM ANALYZE {table}")
    return time.monotonic() - began


def bench_sessions(rounds: int, sessions: int) -> dict[str, dict[str, Way]]:
    """Page → way → what came of it. The ways take turns in every round."""
    manage("seed_demo", "--accounts", "12", "--sessions", "4000")
    with redis.Redis.from_url(config()["cache"]) as client:
        client.flushdb()
    found = {page: {way: Way() for way in WAYS} for page in PAGES}
    with ExitStack() as stack:
        sides = {way: stack.enter_context(closing(Worker(way))) for way in WAYS}
        account, shard = sides["uncached"].place
        print(f"{sessions:,} sessions seeded in {seed(account, shard, sessions):.0f} s", flush=True)
        for number in range(rounds):
            turn = number % len(WAYS)
            for page, query in PAGES.items():
                for way in (*WAYS[turn:], *WAYS[:turn]):
                    found[page][way].add(sides[way].asked(query))
    return found


class Worker:
    """A process of sessions_worker."""

    def __init__(self, way: str) -> None:
        script = str(CHECKOUT / "tests" / "bench" / "sessions_worker.py")
        self.side = Side([sys.executable, script], {"way": way, "slug": SLUG}, environment())
        told = json.loads(self.side.hear(WARM_SECONDS))
        self.place = told["account"], told["shard"]

    def asked(self, query: str) -> dict[str, Any]:
        """As `Way.add` takes it."""
        told: dict[str, Any] = json.loads(
            self.side.answer(json.dumps({"query": query, "times": TIMES}), WARM_SECONDS)
        )
        return told

    def close(self) -> None:
        self.side.stop()


def sessions_table(rounds: int = 10, sessions: int = 1_000_000) -> Table:
    """Milliseconds and ratios to the same page without the cache."""
    heads = "page", "way", "SQL", "Redis", "p50 ms", "ratio", "p95 ms", "ratio"
    table = Table(*heads, title=f"the sessions table, {sessions:,} sessions of one account")
    for page, ways in bench_sessions(rounds, sessions).items():
        plain = ways["uncached"]
        for way, one in ways.items():
            ratios = one.ratio(plain), one.p95 / plain.p95
            table.add_row(
                page if way == "uncached" else "",
                *(way, str(one.queries), str(one.trips)),
                *(f"{one.p50 * 1000:.1f}", f"{ratios[0]:.2f}"),
                *(f"{one.p95 * 1000:.1f}", f"{ratios[1]:.2f}"),
            )
    table.caption = (
        f"{rounds} rounds of {TIMES} requests, the ways in turn. SQL: Django's; 2 are the login's. "
        f"Redis: round trips. cold: Redis was emptied. after a write: the first request."
    )
    return table

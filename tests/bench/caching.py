"""What a cached answer and a write cost: ours, the libraries, and plain Django, in turn.

The floor of a hit stands beside them: redis-py's MGET of a token and an entry as large as ours.
Each side is a process of caching_worker. The libraries are installed into an environment of their
own, for this bench alone.
"""

import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
from rich.table import Table

from tests.bench.caching_worker import ACCOUNT, ENTRIES, ROWS
from tests.bench.cluster import BENCH, config, owner, superuser
from tests.bench.side import Side, shard_settings
from tests.variants import CHECKOUT, PYTHONPATH

__all__ = ["PEERS", "bench_caching", "caching_table", "peers_python", "tables"]

PEERS = ("cache-machine", "cacheops", "cachalot")
SIDES = ("plain", "ours", "MGET", *PEERS)
TIMES = {"get": 100, "list": 50, "count": 100, "filter": 50, "save": 30}
TIMES |= {"save in a transaction": 30, "bulk_create of 100": 3}
TABLES = """
    CREATE TABLE bench_author (
        id bigint PRIMARY KEY DEFAULT routers_next_key(), account_id bigint NOT NULL,
        name varchar(50) NOT NULL, UNIQUE (account_id, id));
    CREATE TABLE bench_book (
        id bigint PRIMARY KEY DEFAULT routers_next_key(), account_id bigint NOT NULL,
        title varchar(50) NOT NULL, copies int NOT NULL, pages int NOT NULL, bought_at timestamptz,
        read_at timestamptz, place varchar(50) NOT NULL, author_id bigint, UNIQUE (account_id, id));
    CREATE INDEX ON bench_book (title);
    CREATE TABLE IF NOT EXISTS caching_service (
        id integer PRIMARY KEY CHECK (id = 1), epoch bigint NOT NULL, is_off boolean NOT NULL);
    INSERT INTO caching_service VALUES (1, 1, false) ON CONFLICT DO NOTHING;
"""
FILL = """
    INSERT INTO bench_author (account_id, name)
    SELECT %(account)s, 'author ' || n FROM generate_series(1, 20) n;
    INSERT INTO bench_book
        (account_id, title, copies, pages, bought_at, read_at, place, author_id)
    SELECT %(account)s, 'book ' || lpad(n::text, 3, '0'), 0, 300, now(), now(), 'upstairs',
        (SELECT id FROM bench_author ORDER BY id OFFSET n %% 20 LIMIT 1)
    FROM generate_series(1, %(rows)s) n;
"""


def _side(kind: str) -> Side:
    """A process of caching_worker."""
    peer = kind in PEERS
    python = peers_python() if peer else sys.executable
    script = str(CHECKOUT / "tests" / "bench" / "caching_worker.py")
    first = {"database": shard_settings(), "redis": config()["cache"]}
    return Side([python, script, kind], first, {"PYTHONPATH": "" if peer else PYTHONPATH})


def bench_caching(rounds: int) -> dict[str, dict[str, list[float]]]:
    """Query → side → microseconds, one a round. The sides take turns, beginning with another."""
    found: dict[str, dict[str, list[float]]] = {q: {s: [] for s in SIDES} for q in TIMES}
    with tables(), redis.Redis.from_url(config()["cache"]) as client:
        client.flushdb()
        sides = {kind: _side(kind) for kind in SIDES}
        try:
            for query, times in TIMES.items():
                for number in range(rounds):
                    turn = number % len(SIDES)
                    for kind in (*SIDES[turn:], *SIDES[:turn]):
                        if kind == "MGET" and query not in ENTRIES:
                            continue
                        spent = sides[kind].nanoseconds(query, times) / 1000
                        found[query][kind].append(spent)
        finally:
            for side in sides.values():
                side.stop()
    return found


@contextmanager
def tables() -> Iterator[None]:
    """The rows of caching_worker's models, on shard01."""
    connection = superuser("shard01")
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS bench_book, bench_author")
        cursor.execute(f"SET ROLE {owner('shard01')['user']}")
        cursor.execute(TABLES)
        cursor.execute(FILL, {"account": ACCOUNT, "rows": ROWS})
        cursor.execute("RESET ROLE")
        cursor.execute("VACUUM ANALYZE bench_book")
        try:
            yield
        finally:
            cursor.execute("DROP TABLE bench_book, bench_author")
    connection.close()


def peers_python() -> str:
    """Of the libraries' environment, made where it is missing."""
    place = BENCH.root.with_name("peers")
    python = place / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        names = str(Path(__file__).with_name("peers.txt"))
        subprocess.run([str(python), "-m", "pip", "install", "-q", "-r", names], check=True)
    return str(python)


def caching_table(rounds: int = 11) -> Table:
    """Medians of the rounds' ratios to plain Django."""
    found = bench_caching(rounds)
    table = Table("query", "plain us", *SIDES[1:], title="caching: warm, ratios to plain Django")
    for query, sides in found.items():
        plain = statistics.median(sides["plain"])
        ratios = (_ratio(sides[kind], sides["plain"]) for kind in SIDES[1:])
        table.add_row(query, f"{plain:.0f}", *ratios)
    table.caption = f"{rounds} rounds of {TIMES}, the sides in turn"
    return table


def _ratio(spent: list[float], plain: list[float]) -> str:
    if not spent:
        return "-"
    return f"{statistics.median(a / b for a, b in zip(spent, plain, strict=True)):.2f}"

"""What a fragment that is kept costs: ours, Django's `{% cache %}`, and rendering, in turn."""

import statistics
import sys

import redis
from rich.table import Table

from tests.bench.caching import tables
from tests.bench.cluster import config
from tests.bench.fragments_worker import TEMPLATES
from tests.bench.side import Side, shard_settings
from tests.variants import CHECKOUT, PYTHONPATH

__all__ = ["bench_fragments", "fragments_table"]

TIMES = 20


def bench_fragments(rounds: int) -> dict[str, list[float]]:
    """Way → microseconds of the table or its rows, one a round. The ways take turns."""
    found: dict[str, list[float]] = {way: [] for way in TEMPLATES}
    ways = list(TEMPLATES)
    with tables(), redis.Redis.from_url(config()["cache"]) as client:
        client.flushdb()
        script = str(CHECKOUT / "tests" / "bench" / "fragments_worker.py")
        first = {"database": shard_settings(), "redis": config()["cache"]}
        side = Side([sys.executable, script], first, {"PYTHONPATH": PYTHONPATH})
        try:
            for number in range(rounds):
                turn = number % len(ways)
                for way in (*ways[turn:], *ways[:turn]):
                    found[way].append(side.nanoseconds(way, TIMES) / 1000)
        finally:
            side.stop()
    return found


def fragments_table(rounds: int = 15) -> Table:
    """Medians, and of the rounds' ratios to rendering."""
    found = bench_fragments(rounds)
    rendered = found["table, rendered"]
    table = Table("way", "us", "ratio", title="fragments: a table of 20 rows, warm")
    for way, spent in found.items():
        ratio = statistics.median(a / b for a, b in zip(spent, rendered, strict=True))
        table.add_row(way, f"{statistics.median(spent):.0f}", f"{ratio:.2f}")
    table.caption = f"{rounds} rounds of {TIMES}, the ways in turn"
    return table

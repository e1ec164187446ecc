"""What routing costs: the library against plain Django on the same table, in turn.

Two processes hold a Django each (see routing_worker) and take turns, so that both meet the same
noise. The plain one asks once as the library does, with the account in the query, and once without.
"""

import statistics
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.table import Table

from tests.bench.cluster import owner, superuser
from tests.bench.routing_worker import ROWS
from tests.bench.side import Side, shard_settings

__all__ = ["bench_routing", "nanoseconds", "routing_table"]

ACCOUNTS, TIMES = 100, 200
PYTHON = ("shard_of", "db_for_read", "nothing")
TABLE = """
    CREATE TABLE shop_order (
        id bigint PRIMARY KEY, account_id bigint NOT NULL, title varchar(50) NOT NULL,
        currency_id varchar(3), parent_id bigint, UNIQUE (account_id, id))
"""
FILL = """
    INSERT INTO shop_order (id, account_id, title)
    SELECT number, 1 + number %% %s, 'order ' || number FROM generate_series(1, %s) number
"""


@dataclass
class Compared:
    """One query: microseconds in plain Django, and the routed one's ratios to it, one a round."""

    query: str
    plain_us: float
    ratios: list[float]


def bench_routing(rounds: int) -> list[Compared]:
    """Each query in `rounds` rounds of TIMES, plain and routed in turn, the first one changing."""
    with _table(), _sides() as (plain, routed):
        return [
            _compare(query, plain, routed, rounds)
            for query in ("get", "get of the account", "list", "list of the account")
        ]


def nanoseconds(times: int = 1_000_000) -> dict[str, float]:
    """shard_of and db_for_read, the cost of the loop taken off."""
    with _table(), _sides() as (_, routed):
        spent = {name: routed.nanoseconds(name, times) for name in PYTHON}
    loop = spent.pop("nothing")
    return {name: value - loop for name, value in spent.items()}


def _compare(query: str, plain: Side, routed: Side, rounds: int) -> Compared:
    spent: dict[Side, list[float]] = {plain: [], routed: []}
    for number in range(rounds):
        for side in (plain, routed) if number % 2 else (routed, plain):
            spent[side].append(side.nanoseconds(query, TIMES))
    ratios = [ours / theirs for ours, theirs in zip(spent[routed], spent[plain], strict=True)]
    return Compared(query, statistics.median(spent[plain]) / 1000, ratios)


@contextmanager
def _sides() -> Iterator[tuple[Side, Side]]:
    sides = _side("plain"), _side("routed")
    try:
        yield sides
    finally:
        for side in sides:
            side.stop()


def _side(kind: str) -> Side:
    """A process of routing_worker."""
    return Side([sys.executable, "-m", "tests.bench.routing_worker", kind], shard_settings())


@contextmanager
def _table() -> Iterator[None]:
    """ACCOUNTS accounts with ROWS orders each, in the first shard; dropped at the end."""
    connection = superuser("shard01")
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS shop_order CASCADE")
        cursor.execute(f"SET ROLE {owner('shard01')['user']}")
        cursor.execute(TABLE)
        cursor.execute(FILL, [ACCOUNTS, ACCOUNTS * ROWS])
        cursor.execute("RESET ROLE")
        cursor.execute("VACUUM ANALYZE shop_order")
        try:
            yield
        finally:
            cursor.execute("DROP TABLE shop_order CASCADE")
    connection.close()


def routing_table() -> Table:
    """Nanoseconds in the title, microseconds and ratios below."""
    spent = ", ".join(f"{name} {value:.0f} ns" for name, value in nanoseconds().items())
    table = Table("query", "plain us", "ratio", "of the rounds", title=f"routing: {spent}")
    for found in bench_routing(21):
        spread = f"{min(found.ratios):.2f} to {max(found.ratios):.2f}"
        median = statistics.median(found.ratios)
        table.add_row(found.query, f"{found.plain_us:.0f}", f"{median:.3f}", spread)
    table.caption = f"21 rounds of {TIMES}, plain and routed in turn"
    return table

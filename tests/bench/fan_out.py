"""fan_out over 4 and over 32 shards, against the slowest of them alone and all in turn.

The shards are databases made for it, spread over the shards' servers, each with its part of the
same number of rows. The servers and the reader share this machine's cores, so that nothing can take
less than the floor: the work of all shards, spread evenly over the cores. What is above the floor
is the library's, and Python's one thread at a time.

`python -m tests.bench.fan_out FILE` is the process that is measured: it reads through Django and
the library, straight from the servers, and prints its figures as JSON.
"""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from tests.bench.cluster import SHARDS, environment, owner, secrets, superuser
from tests.variants import CHECKOUT

__all__ = ["Figure", "bench_fan_out", "fan_out_table"]

NUMBERS = (4, 32)
ROWS = 100_000
ROUNDS = 9
TABLE = """
CREATE TABLE bench_row (id bigint PRIMARY KEY, account_id bigint NOT NULL,
    title varchar(50) NOT NULL, amount integer NOT NULL);
INSERT INTO bench_row SELECT key, key % 100 + 1, md5(key::text), key % 1000
    FROM generate_series({shard}::bigint, {rows}::bigint * {number} - 1, {number}) AS key;
CREATE INDEX ON bench_row (title);
"""


@dataclass
class Figure:
    """Seconds, one of each in every round: the slowest shard alone, all in turn, and fan_out."""

    read: str
    shards: int
    slowest: list[float]
    in_turn: list[float]
    together: list[float]

    @property
    def floor(self) -> list[float]:
        """Seconds below which nothing on this machine gets."""
        cores = os.cpu_count() or 1
        pairs = zip(self.slowest, self.in_turn, strict=True)
        return [max(slowest, in_turn / cores) for slowest, in_turn in pairs]

    def ratio(self, base: list[float]) -> float:
        """fan_out's time to another's: the median of the rounds' ratios."""
        return _ratio(self.together, base)


def bench_fan_out() -> list[Figure]:
    """Every read, over every number of shards."""
    figures = []
    for number in NUMBERS:
        with _databases(number) as databases, tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "databases.json"
            path.touch(mode=0o600)
            path.write_text(json.dumps(databases))
            done = subprocess.run(
                [sys.executable, "-m", "tests.bench.fan_out", str(path)],
                cwd=CHECKOUT,
                env=environment(),
                check=True,
                stdout=subprocess.PIPE,
            )
            figures += [Figure(**figure) for figure in json.loads(done.stdout)]
    return figures


def fan_out_table() -> Table:
    """All figures. `floor` is the ratio to the slowest shard that the machine's cores allow."""
    heads = ("read", "shards", "slowest ms", "fan_out ms", "ratio", "floor", "to the floor")
    table = Table(*heads, title="fan_out, against the slowest shard alone, and what is possible")
    table.caption = f"floor: the work of all shards, spread over {os.cpu_count()} cores"
    for figure in bench_fan_out():
        times = (statistics.median(each) * 1000 for each in (figure.slowest, figure.together))
        floor = _ratio(figure.floor, figure.slowest)
        ratios = (figure.ratio(figure.slowest), floor, figure.ratio(figure.floor))
        shown = (*(f"{each:.1f}" for each in times), *(f"{each:.2f}" for each in ratios))
        table.add_row(figure.read, str(figure.shards), *shown)
    return table


def _ratio(times: list[float], base: list[float]) -> float:
    return statistics.median(one / other for one, other in zip(times, base, strict=True))


@contextmanager
def _databases(number: int) -> Iterator[dict[str, Any]]:
    """Alias → how to reach it. Made, filled, and dropped afterwards."""
    homes = {f"shard{n:02}": SHARDS[n % len(SHARDS)] for n in range(1, number + 1)}
    try:
        for shard, (alias, home) in enumerate(homes.items()):
            _on_server(home, f"DROP DATABASE IF EXISTS bench_fan_out_{alias} WITH (FORCE)")
            _on_server(home, f"CREATE DATABASE bench_fan_out_{alias} TEMPLATE template0")
            with contextlib.closing(superuser(home, f"bench_fan_out_{alias}")) as connection:
                cursor = connection.cursor()
                rows = ROWS // number
                cursor.execute(TABLE.format(number=number, shard=shard, rows=rows))
                cursor.execute("VACUUM ANALYZE bench_row")
        yield {alias: _settings(alias, home) for alias, home in homes.items()}
    finally:
        for alias, home in homes.items():
            _on_server(home, f"DROP DATABASE IF EXISTS bench_fan_out_{alias} WITH (FORCE)")


def _settings(alias: str, home: str) -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": owner(home)["host"],
        "PORT": owner(home)["port"],
        "NAME": f"bench_fan_out_{alias}",
        "USER": "postgres",
        "PASSWORD": secrets()["superuser"],
        "CONN_MAX_AGE": 60,
        "DISABLE_SERVER_SIDE_CURSORS": True,
    }


def _on_server(home: str, statement: str) -> None:
    with contextlib.closing(superuser(home, "postgres")) as connection:
        connection.cursor().execute(statement)


def measure(databases: dict[str, Any]) -> list[Figure]:
    """In a process of its own."""
    import django
    from django.conf import settings

    settings.configure(
        DATABASES={"default": {}, **databases},
        DATABASE_ROUTERS=["routers.router.ShardRouter"],
        INSTALLED_APPS=["routers"],
        SHARDING={"SHARDS": {alias: int(alias[-2:]) for alias in databases}},
        USE_TZ=True,
    )
    django.setup()
    reads = _reads()
    figures = [Figure(name, len(databases), [], [], []) for name in reads]
    for round_ in range(ROUNDS + 1):
        for figure in figures:
            times = _once(sorted(databases), *reads[figure.read])
            if round_:  # the first one opens the connections
                for place, seconds in zip(
                    (figure.slowest, figure.in_turn, figure.together), times, strict=True
                ):
                    place.append(seconds)
    return figures


Read = Callable[[Any], Any]


def _reads() -> dict[str, tuple[Callable[[], Any], Read]]:
    """Name → (queryset, what is done with it, on one shard and over all)."""
    from django.db import models
    from django.db.models import Avg, Count, Max

    from routers.models import ShardedModel

    class Row(ShardedModel):
        title = models.CharField(max_length=50)
        amount = models.IntegerField()

        class Meta(ShardedModel.Meta):
            app_label = "bench"
            constraints = []

    every = Row.objects.all
    aggregates = {"n": Count("id"), "mean": Avg("amount"), "most": Max("amount")}
    return {
        "count": (every, lambda rows: rows.count()),
        "aggregate": (every, lambda rows: rows.aggregate(**aggregates)),
        "top 20 by an index": (
            lambda: Row.objects.order_by("title"),
            lambda rows: list(rows[:20]),
        ),
        f"{ROWS:,} rows": (every, _exhaust),
        f"{ROWS:,} rows in order": (lambda: Row.objects.order_by("title"), _exhaust),
    }


def _exhaust(rows: Any) -> None:
    for _ in rows.iterator(chunk_size=1000):
        pass


def _once(aliases: list[str], query: Callable[[], Any], read: Read) -> tuple[float, float, float]:
    """Seconds of the slowest shard alone, of all in turn, and of fan_out."""
    from routers import all_accounts
    from routers.fanout.fan_out import fan_out

    alone = []
    for alias in aliases:
        with all_accounts(alias):
            alone.append(_seconds(lambda: read(query())))
    return max(alone), sum(alone), _seconds(lambda: read(fan_out(query(), jobs=len(aliases))))


def _seconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    found = measure(json.loads(Path(sys.argv[1]).read_text()))
    print(json.dumps([asdict(figure) for figure in found]))

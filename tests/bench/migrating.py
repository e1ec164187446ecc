"""`migrate_shards` over 32 shards: together against one after another, killed, with one away.

The site's models and migrations, on databases made for it: the catalog on the catalog's server, the
shards spread over the shards' servers, as the superuser (nobody else is let into other databases).
Seconds are those of the whole command, the start of Python and Django included.
"""

import contextlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
from rich.table import Table

from tests.bench.cluster import SHARDS, config, environment, owner, secrets, superuser
from tests.cluster.harness import eventually
from tests.variants import CHECKOUT

__all__ = ["bench_migrating", "migrating_table"]

NUMBER = 32
JOBS = (1, 8)
MINUTES = 10


@dataclass
class Figures:
    """Seconds by number of jobs; and what a kill and a shard that is away came to, in words."""

    seconds: dict[int, list[float]] = field(default_factory=dict)
    again: list[float] = field(default_factory=list)
    check: list[float] = field(default_factory=list)
    stories: list[tuple[str, str]] = field(default_factory=list)


class Bench:
    """33 databases and the site's configuration that names them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.homes = {"default": "default"} | {
            f"shard{number:02}": SHARDS[number % len(SHARDS)] for number in range(1, NUMBER + 1)
        }

    def write(self, **moved: int) -> None:
        """The configuration; `moved`: alias → another port."""
        databases = {}
        for alias, home in self.homes.items():
            given = owner(home)
            databases[alias] = {
                "host": given["host"],
                "port": moved.get(alias, given["port"]),
                "name": _name(alias),
                "user": "postgres",
                "password": secrets()["superuser"],
            }
            if alias != "default":
                databases[alias]["number"] = int(alias.removeprefix("shard"))
        self.path.write_text(json.dumps({**config(), "databases": databases}))

    @contextmanager
    def fresh(self) -> Iterator[None]:
        """Databases with nothing in them, gone afterwards."""
        try:
            for alias in self.homes:
                self._on_server(alias, f"DROP DATABASE IF EXISTS {_name(alias)} WITH (FORCE)")
                self._on_server(alias, f"CREATE DATABASE {_name(alias)} TEMPLATE template0")
            yield
        finally:
            for alias in self.homes:
                self._on_server(alias, f"DROP DATABASE IF EXISTS {_name(alias)} WITH (FORCE)")

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """`migrate_shards` in a process of its own."""
        return subprocess.Popen(
            [sys.executable, "manage.py", "migrate_shards", *arguments],
            cwd=CHECKOUT / "site",
            env={**environment(), "FULCRUM_CONFIG": str(self.path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str, status: int = 0) -> tuple[float, str]:
        """Seconds, and what it said."""
        began = time.perf_counter()
        process = self.start(*arguments)
        said, _ = process.communicate(timeout=60 * MINUTES)
        if process.returncode != status:
            raise RuntimeError(f"migrate_shards {arguments}: status {process.returncode}\n{said}")
        return time.perf_counter() - began, said

    def query(self, alias: str, statement: str) -> list[Any]:
        """Rows of one of the databases."""
        with contextlib.closing(superuser(self.homes[alias], _name(alias))) as connection:
            cursor = connection.cursor()
            cursor.execute(statement)
            rows: list[Any] = cursor.fetchall()
            return rows

    def outcomes(self) -> dict[str, int]:
        """The ledger's rows, counted by outcome."""
        rows = json.loads(self.run("--history", "1000", "--json")[1])
        seen = [row["outcome"] for row in rows]
        return {outcome: seen.count(outcome) for outcome in sorted(set(seen))}

    def whole(self) -> int:
        """How many shards have all migrations."""
        wanted = self._migrations("default")
        return sum(self._migrations(alias) == wanted for alias in self.homes if alias != "default")

    def _migrations(self, alias: str) -> int:
        try:
            return int(self.query(alias, "SELECT count(*) FROM django_migrations")[0][0])
        except psycopg2.errors.UndefinedTable:
            return 0

    def _on_server(self, alias: str, statement: str) -> None:
        with contextlib.closing(superuser(self.homes[alias], "postgres")) as connection:
            connection.cursor().execute(statement)


def _name(alias: str) -> str:
    return f"bench_migrating_{alias}"


def bench_migrating(rounds: int) -> Figures:
    """`rounds` rounds, each with every number of jobs in turn, on fresh databases."""
    figures = Figures({jobs: [] for jobs in JOBS})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "site.json"
        path.touch(mode=0o600)
        bench = Bench(path)
        bench.write()
        for _ in range(rounds):
            for jobs in JOBS:
                with bench.fresh():
                    figures.seconds[jobs].append(bench.run("--jobs", str(jobs))[0])
                    if jobs == max(JOBS):
                        figures.again.append(bench.run("--jobs", str(jobs))[0])
                        figures.check.append(bench.run("--check", "--jobs", str(jobs))[0])
        figures.stories += [_killed(bench), _one_away(bench)]
    return figures


def migrating_table(rounds: int) -> Table:
    """What `bench_migrating` found. Ratios are of the medians."""
    figures = bench_migrating(rounds)
    title = f"migrate_shards, {NUMBER} shards, {rounds} rounds"
    table = Table("what", "median s", "range", "ratio", title=title)
    base = statistics.median(figures.seconds[1])
    rows = {f"fresh, --jobs {jobs}": seconds for jobs, seconds in figures.seconds.items()}
    rows |= {"again, nothing left": figures.again, "--check": figures.check}
    for what, seconds in rows.items():
        median = statistics.median(seconds)
        spread = f"{min(seconds):.1f} to {max(seconds):.1f}"
        table.add_row(what, f"{median:.1f}", spread, f"{median / base:.2f}")
    table.caption = "\n".join(f"{what}: {told}" for what, told in figures.stories)
    return table


def _killed(bench: Bench) -> tuple[str, str]:
    """kill -9 once a third of the shards are done."""
    done = "SELECT count(*) FROM routers_migrationrecord WHERE outcome = 'done'"
    with bench.fresh():
        process = bench.start()
        eventually(lambda: bench.query("default", done)[0][0] > NUMBER / 3)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        after, whole = bench.outcomes(), bench.whole()
        seconds, _ = bench.run()
        told = f"{_words(after)}, {whole} shards whole; run again ({seconds:.1f} s): "
        return "killed in the middle", told + f"{bench.whole()} whole, {_words(bench.outcomes())}"


def _one_away(bench: Bench) -> tuple[str, str]:
    """One shard at a port where nobody listens, then at its own again."""
    away = f"shard{NUMBER // 2:02}"
    with bench.fresh(), socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound and never listened on: refused
        bench.write(**{away: nobody.getsockname()[1]})
        seconds, said = bench.run(status=1)
        if f"{away} is not migrated" not in said:
            raise RuntimeError(said)
        told = f"status 1 after {seconds:.1f} s, {_words(bench.outcomes())}; "
        bench.write()
        seconds, _ = bench.run()
        return f"{away} away", f"{told}run again ({seconds:.1f} s): {bench.whole()} whole"


def _words(counted: dict[str, int]) -> str:
    return "ledger " + ", ".join(f"{number} {outcome}" for outcome, number in counted.items())

"""How long an account's writers wait while it moves, and how fast it goes, by its size.

Four writers on the account and one beside it, each a process that writes one small transaction
after another through what the application uses, and writes again what was refused. A move's pause
is the time between the two acknowledged writes of the account's around the switch, less the median
of such gaps; "longest" the longest gap at any time, which a busy machine has without moves too: see
"before". The floor is COPY | COPY, binary, of the same rows between the same
tables past triggers and foreign keys, in turn with the moves. The worker process
(`python -m tests.bench.moves SIZE:MOVES …`) prints its figures as JSON.
"""

import json
import multiprocessing
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

from rich.table import Table

__all__ = ["Figure", "moves_table"]

SIZES = ("1000:50", "100000:20", "1000000:5")
WRITERS, PAUSE_SECONDS = 4, 0.025
ORDERS = """INSERT INTO shop_order (account_id, title)
    SELECT {account}, 'order ' || n FROM generate_series(1, {rows}) n"""
LINES = """INSERT INTO shop_line (account_id, order_id, amount)
    SELECT account_id, id, 1 FROM shop_order WHERE account_id = {account}"""


@dataclass
class Figure:
    """Of the moves of one size: milliseconds, seconds, and transactions of the neighbour's."""

    rows: int
    pauses: list[float] = field(default_factory=list)
    longest: list[float] = field(default_factory=list)
    before: list[float] = field(default_factory=list)
    fenced: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    floors: list[float] = field(default_factory=list)
    written: int = 0
    missing: int = 0


def moves_table(*sizes: str) -> Table:
    """A row a size, measured on the bench cluster."""
    from tests.bench.cluster import environment
    from tests.variants import CHECKOUT

    variables = environment() | {"DJANGO_SETTINGS_MODULE": "tests.unit.routers.settings"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.moves", *(sizes or SIZES)],
        cwd=CHECKOUT,
        env=variables,
        check=True,
        stdout=subprocess.PIPE,
    )
    heads = "rows, moves, pause p50, p99, longest, before, fence, seconds, to COPY, writes, lost"
    table = Table(*heads.split(", "), title="moves under 4 writers; pauses in ms")
    for figure in (Figure(**given) for given in json.loads(done.stdout)):
        table.add_row(*_cells(figure))
    return table


def _cells(figure: Figure) -> Iterator[str]:
    yield from (f"{figure.rows:,}", str(len(figure.pauses)))
    yield from (f"{statistics.median(figure.pauses):.1f}", f"{_p99(figure.pauses):.1f}")
    for values in (figure.longest, figure.before, figure.fenced):
        yield f"{statistics.median(values):.1f}"
    pairs = zip(figure.floors, figure.seconds, strict=True)
    yield f"{statistics.median(figure.seconds):.2f}"
    yield f"{statistics.median(floor / taken for floor, taken in pairs):.2f}"
    yield from (f"{figure.written:,}", str(figure.missing))


def _p99(values: list[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * 0.99))]


# What follows is the worker's.


def _measure(rows: int, moves: int) -> Figure:
    from routers.shard_map import refresh_map
    from tests.unit.routers.moving_stage import ACCOUNT, NEIGHBOUR, SOURCE, TARGET, ask

    figure = Figure(rows)
    here = refresh_map().shard_of(ACCOUNT)
    there = TARGET if here == SOURCE else SOURCE
    for sql in (ORDERS, LINES):
        ask(here, sql.format(account=ACCOUNT, rows=rows // 2))
        ask(here, "ANALYZE shop_order; ANALYZE shop_line")
    for _ in range(moves):
        figure.floors.append(_floor(here, there))
        with _writing({ACCOUNT: WRITERS, NEIGHBOUR: 1}, here) as logs:
            time.sleep(1.0)  # their usual time
            began = time.monotonic()
            switched = _move(figure, there)
            time.sleep(0.5)
        _judge(figure, logs, there, began, switched)
        here, there = there, here
    ask(here, f"DELETE FROM shop_line WHERE account_id = {ACCOUNT}")
    ask(here, f"DELETE FROM shop_order WHERE account_id = {ACCOUNT}")
    return figure


def _move(figure: Figure, target: str) -> float:
    """Moves the account; when it had its new owner."""
    from routers.moving.move import move_account
    from tests.unit.routers.moving_stage import ACCOUNT, Hook

    began = time.monotonic()
    ended: list[float] = []
    row = move_account(
        ACCOUNT, target, watcher=Hook("owned", lambda: ended.append(time.monotonic()))
    )
    figure.seconds.append(ended[0] - began)
    figure.fenced.append(row.pause_ms)
    return ended[0]


def _floor(source: str, target: str) -> float:
    """Seconds of the plain copy, rolled back."""
    from tests.unit.routers.moving_stage import ACCOUNT, connect

    with closing(connect(target, "site-owner")) as session, session.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        began = time.monotonic()
        for table in ("shop_order", "shop_line"):
            query = f"SELECT * FROM {table} WHERE account_id = {ACCOUNT}"
            with _psql(source, f"COPY ({query}) TO STDOUT (FORMAT binary)") as sender:
                cursor.copy_expert(f"COPY {table} FROM STDIN (FORMAT binary)", sender.stdout, 2**20)
        seconds = time.monotonic() - began
        session.rollback()
    return seconds


def _psql(alias: str, sql: str) -> "subprocess.Popen[bytes]":
    from tests.unit.routers.moving_stage import given

    login = given(alias, "site-owner")
    names = {"host": "host", "port": "port", "dbname": "name", "user": "user"}
    told = " ".join(f"{ours}={login[theirs]}" for ours, theirs in names.items())
    return subprocess.Popen(
        ["psql", "-XAtq", f"{told} password={login['password']}", "-c", sql],
        stdout=subprocess.PIPE,
    )


@contextmanager
def _writing(accounts: dict[int, int], alias: str) -> Iterator[dict[int, list[Any]]]:
    """Account → acknowledged (time, title), filled when the block ends."""
    fork = multiprocessing.get_context("fork")
    stop, started = fork.Event(), []
    logs: dict[int, list[Any]] = {account: [] for account in accounts}
    for account, number in accounts.items():
        for writer in range(number):
            ours, theirs = fork.Pipe()
            given = (account, f"{writer} {time.time_ns()}", alias, stop, theirs)
            process = fork.Process(target=_write, args=given)
            process.start()
            started.append((account, process, ours))
    try:
        yield logs
    finally:
        stop.set()
        for account, process, ours in started:
            logs[account] += ours.recv()
            process.join()


def _write(account: int, name: str, alias: str, stop: Any, log: Any) -> None:
    import psycopg2

    from tests.unit.routers.moving_stage import SOURCE, TARGET, connect

    done, number = [], 0
    sessions = {shard: connect(shard) for shard in (SOURCE, TARGET)}  # as a pool has
    while not stop.is_set():
        number, refused = number + 1, True
        while refused:
            session = sessions[alias]
            try:
                with session, session.cursor() as cursor:
                    cursor.execute(
                        "INSERT INTO shop_order (account_id, title) VALUES (%s, %s) RETURNING id",
                        [account, f"w {name} {number}"],
                    )
                    cursor.execute(
                        "UPDATE shop_order SET title = title WHERE account_id = %s AND id = %s",
                        [account, cursor.fetchone()[0]],
                    )
                refused = False
            except psycopg2.Error as error:
                if error.pgcode == "FU002":
                    alias = str(error.diag.message_detail)
                elif not str(error.pgcode).startswith("FU"):
                    raise
                time.sleep(0.001)
        done.append((time.monotonic(), f"w {name} {number}"))
        time.sleep(PAUSE_SECONDS)
    log.send(done)


def _judge(
    figure: Figure, logs: dict[int, list[Any]], target: str, began: float, switched: float
) -> None:
    """The gaps between acknowledged writes, and whether each write is there once."""
    from tests.unit.routers.moving_stage import ACCOUNT, ask

    written = sorted(logs[ACCOUNT])
    times = [at for at, _ in written]
    gaps = [(at, later, 1000 * (later - at)) for at, later in pairwise(times)]
    usual = statistics.median(gap for _, _, gap in gaps)
    [around] = [gap for at, later, gap in gaps if at < switched <= later]
    figure.pauses.append(around - usual)
    figure.longest.append(max(gap for at, _, gap in gaps if at > began))
    figure.before.append(max(gap for at, later, gap in gaps[20:] if later < began))
    titles = f"SELECT title FROM shop_order WHERE account_id = {ACCOUNT} AND title LIKE 'w %'"
    there = sorted(title for (title,) in ask(target, titles))
    figure.written += len(written)
    figure.missing += there != sorted(title for _, title in written)
    ask(target, f"DELETE FROM shop_order WHERE account_id = {ACCOUNT} AND title LIKE 'w %'")


def main() -> None:
    import django

    django.setup()
    from django.conf import settings
    from django.test.utils import override_settings

    from routers.moving import settling
    from tests.unit.conftest import run_as_owner
    from tests.unit.routers.moving_stage import stage

    for alias in ("default", "shard01", "shard02", "shard03"):
        run_as_owner("migrate", "--database", alias, "--run-syncdb")
    settling.MARGIN_SECONDS = 0.0
    figures = []
    sharding = {**settings.SHARDING, "OWNER_SECONDS": 0.0}  # nobody reads here
    with override_settings(SHARDING=sharding), stage():
        for size in sys.argv[1:]:
            rows, moves = map(int, size.split(":"))
            figures.append(asdict(_measure(rows, moves)))
    json.dump(figures, sys.stdout)


if __name__ == "__main__":
    main()

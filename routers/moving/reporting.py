"""How moves show themselves: bars on a terminal, plain lines in a log, tables."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.progress import TransferSpeedColumn as SpeedColumn
from rich.table import Table

from routers.models import Move
from routers.moving.plan import Plan
from routers.moving.steps import Watcher

__all__ = ["Report", "move_table", "plan_table", "report"]

TOLD = frozenset({"waited", "copied", "compared", "owned", "cleaned"})
LINE_SECONDS = 5.0


class Report(Protocol):
    """Makes a watcher of each move."""

    def watch(self, plan: Plan) -> Watcher: ...


@contextmanager
def report(stream: TextIO) -> Iterator[Report]:
    """The display that suits the stream."""
    console = Console(file=stream, highlight=False)
    if not console.is_terminal:
        yield _Lines(stream)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), SpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        yield _Bars(progress)


def plan_table(plans: Sequence[Plan]) -> Table:
    """A row an account."""
    table = Table("account", "from", "to", "rows", "size", "seconds", box=None, pad_edge=False)
    for plan in plans:
        about = (f"{plan.rows:,}", _megabytes(plan.bytes), f"~{plan.seconds:,.1f}")
        table.add_row(str(plan.account), plan.source, plan.target, *about)
    return table


def move_table(rows: Sequence[Move]) -> Table:
    """The journal's rows, as they are given."""
    heads = "began, account, from, to, outcome, step, rows, rows/s, pause, error"
    table = Table(*heads.split(", "), box=None, pad_edge=False)
    for row in rows:
        rate = f"{row.rows / row.copy_seconds:,.0f}" if row.copy_seconds else ""
        table.add_row(
            *(f"{row.began_at:%Y-%m-%d %H:%M:%S}", str(row.account_id), row.source, row.target),
            *(row.outcome, row.step, f"{row.rows:,}", rate, f"{row.pause_ms:.1f} ms"),
            row.error.partition("\n")[0],
        )
    return table


def _megabytes(size: int) -> str:
    return f"~{size / 2**20:,.1f} MB"


class _Lines:
    """One line a step, and while rows are copied one in some seconds."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._lock = stream, threading.Lock()

    def watch(self, plan: Plan) -> Watcher:
        return _LinesOfOne(self, plan)

    def write(self, line: str) -> None:
        with self._lock:
            self._stream.write(f"{line}\n")
            self._stream.flush()


class _LinesOfOne:
    def __init__(self, lines: _Lines, plan: Plan) -> None:
        self._lines, self._plan, self._size = lines, plan, 0
        self._began = self._told_at = time.monotonic()

    def at(self, step: str) -> None:
        if step == "waited":
            self._began = self._told_at = time.monotonic()
        if step in TOLD:
            self._write(step)

    def copied(self, size: int) -> None:
        self._size += size
        if time.monotonic() - self._told_at > LINE_SECONDS:
            self._told_at = time.monotonic()
            rate = self._size / (self._told_at - self._began)
            left = max(self._plan.bytes - self._size, 0) / rate
            done = f"{self._size / 2**20:,.1f} of {_megabytes(self._plan.bytes)}"
            self._write(f"{done}, {rate / 2**20:,.1f} MB/s, about {left:,.0f} s to go")

    def _write(self, text: str) -> None:
        plan = self._plan
        self._lines.write(f"account {plan.account}, {plan.source} to {plan.target}: {text}")


class _Bars:
    """A bar for each account that is on its way."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def watch(self, plan: Plan) -> Watcher:
        return _Bar(self._progress, plan)


class _Bar:
    def __init__(self, progress: Progress, plan: Plan) -> None:
        self._progress, self._plan = progress, plan
        self._task: Any = progress.add_task(f"account {plan.account}", total=plan.bytes or 1)

    def at(self, step: str) -> None:
        told = f"account {self._plan.account} [dim]{step}[/]"
        self._progress.update(self._task, description=told)
        if step == "copied":
            self._progress.update(self._task, completed=self._plan.bytes or 1)

    def copied(self, size: int) -> None:
        self._progress.advance(self._task, size)

"""Progress of long work: a bar on a terminal, a line each ten per cent in a log."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["progress"]


@contextmanager
def progress(title: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """Yields `advance(n)`, which may be called from any thread. Writes to standard error."""
    console = Console(stderr=True)
    with _bar(console, title, total) if console.is_terminal else _lines(title, total, unit) as step:
        yield step


@contextmanager
def _bar(console: Console, title: str, total: int) -> Iterator[Callable[[int], None]]:
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(title, total=total)
        yield lambda done: bar.advance(task, done)


@contextmanager
def _lines(title: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    began, done, told, lock = time.monotonic(), 0, 0, threading.Lock()

    def advance(count: int) -> None:
        nonlocal done, told
        with lock:
            done += count
            tenths = 10 * done // max(total, 1)
            if tenths > told:
                told = tenths
                rate = done / max(time.monotonic() - began, 1e-6)
                left = (total - done) / rate
                line = f"{title}: {done:,} of {total:,} {unit}, {rate:,.0f}/s, {left:,.0f} s to go"
                print(line, file=sys.stderr, flush=True)

    yield advance

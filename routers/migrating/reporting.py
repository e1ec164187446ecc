"""How `migrate_shards` shows itself: a live display on a terminal, plain lines in a log, tables."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from routers.conf import CATALOG
from routers.migrating.drift import Finding
from routers.migrating.one import Outcome, Report
from routers.migrating.run import Run

__all__ = ["drift_table", "failure", "history_table", "report", "show"]


@contextmanager
def report(stream: TextIO, total: int) -> Iterator[Report]:
    """The display that suits the stream, for `total` databases."""
    console = Console(file=stream, highlight=False)
    if not console.is_terminal:
        yield _Lines(stream, total)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        yield _Bars(progress, total)


def show(stream: TextIO, table: Table) -> None:
    """Print a table; in a log its lines are as long as they need to be."""
    console = Console(file=stream, highlight=False)
    if not console.is_terminal:
        console = Console(file=stream, highlight=False, width=200)
    console.print(table)


def history_table(rows: list[dict[str, Any]]) -> Table:
    """The ledger's rows, newest first."""
    table = Table("started", "run", "database", "phase", "outcome", "applied", "error")
    for row in rows:
        colour = {"done": "green", "failed": "red", "interrupted": "yellow"}.get(row["outcome"], "")
        outcome = f"[{colour}]{row['outcome']}[/]" if colour else row["outcome"]
        applied = ", ".join(row["applied"][-3:])
        if len(row["applied"]) > 3:
            applied = f"{len(row['applied'])}, the last: {applied}"
        table.add_row(
            *(row["started"], row["run"], row["database"], row["phase"], outcome),
            *(escape(applied), escape(row["error"].partition("\n")[0])),
        )
    return table


def drift_table(findings: list[Finding]) -> Table:
    """Every difference between the databases and the models."""
    table = Table("database", "", "what", "of", "expected", "actual")
    for finding in findings:
        colour = "red" if finding.severity == "error" else "yellow"
        what = f"{finding.what} {finding.kind} {finding.name}".rstrip()
        table.add_row(
            *(finding.database, f"[{colour}]{finding.severity}[/]", escape(what)),
            *(escape(text) for text in (finding.table, finding.expected, finding.actual)),
        )
    return table


def failure(run: Run) -> str:
    """What a run did not migrate, why, what is done, and the command to go on."""
    lines = []
    for outcome in run.failed:
        at = f", at {outcome.migration}" if outcome.migration else ""
        lines.append(f"{outcome.database} is not migrated{at}: {outcome.error}")
    bad = {outcome.database for outcome in run.failed}
    done = [alias for alias in run.databases if alias not in run.left and alias not in bad]
    lines.append(f"Done: {', '.join(done) or 'nothing'}.")
    if run.left:
        lines.append(f"Nothing else was begun, {_why_not(run)}: {', '.join(run.left)}.")
    mend = "Mend what is named above and run" if run.failed else "Run"
    lines.append(f"{mend} `{_command(run)}` again: it does what is left.")
    return "\n".join(lines)


def _why_not(run: Run) -> str:
    if run.stopped:
        return "because of Ctrl-C"
    if CATALOG in run.databases and run.outcomes[CATALOG].error:
        return "since the catalog failed"
    return f"since the canary, {run.canary}, failed (--canary names another one)"


def _command(run: Run) -> str:
    options = run.options
    words = ["manage.py migrate_shards", *(f"--only {alias}" for alias in options.only)]
    words += [f"--canary {options.canary}"] if options.canary else []
    words += [f"--phase {options.phase}"] if options.phase != "all" else []
    return " ".join(words)


def _result(outcome: Outcome) -> str:
    if outcome.error:
        where = f" at {outcome.migration}" if outcome.migration else ""
        what = "not begun" if outcome.left else "failed"
        return f"{what}{where}: {outcome.error.partition(chr(10))[0]}"
    done = f"{len(outcome.applied)} migrations applied" if outcome.applied else "up to date"
    return f"{done}, {len(outcome.held)} held back" if outcome.held else done


class _Lines:
    """One line each time something is finished or waits."""

    def __init__(self, stream: TextIO, total: int) -> None:
        self._stream, self._total = stream, total
        self._finished, self._began, self._lock = 0, time.monotonic(), threading.Lock()

    def at(self, database: str, what: str, number: int, total: int) -> None:
        """Nothing: a log wants results."""

    def note(self, database: str, text: str) -> None:
        self._write(f"{database}: {text}" if database else text)

    def done(self, outcome: Outcome) -> None:
        self._finished += 1
        passed = time.monotonic() - self._began
        left = passed / self._finished * (self._total - self._finished)
        to_go = f", about {left:.0f} s to go" if self._finished < self._total else ""
        self._write(
            f"[{self._finished}/{self._total}] {outcome.database}: {_result(outcome)} "
            f"({outcome.seconds:.1f} s{to_go})"
        )

    def _write(self, line: str) -> None:
        with self._lock:
            self._stream.write(f"{line}\n")
            self._stream.flush()


class _Bars:
    """A bar over all databases, and one below it for each that is in hand."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._all = progress.add_task("databases", total=total)
        self._tasks: dict[str, Any] = {}

    def at(self, database: str, what: str, number: int, total: int) -> None:
        if database not in self._tasks:
            self._tasks[database] = self._progress.add_task(database, total=total)
        text = f"{database} [dim]{escape(what)}[/]"
        task = self._tasks[database]
        self._progress.update(task, description=text, completed=number - 1, total=total)

    def note(self, database: str, text: str) -> None:
        self._progress.console.print(escape(f"{database}: {text}" if database else text))

    def done(self, outcome: Outcome) -> None:
        if outcome.database in self._tasks:
            self._progress.remove_task(self._tasks[outcome.database])
        self._progress.advance(self._all)
        colour = "red" if outcome.error else "green"
        line = f"[{colour}]{outcome.database}[/]: {escape(_result(outcome))}"
        self._progress.console.print(f"{line} [dim]({outcome.seconds:.1f} s)[/]")

"""What a person sees: progress that lives on a terminal and is plain lines in a log."""

__all__ = ["Console", "run_logged", "tail"]

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import rich.console
import rich.status
from rich.markup import escape

from infra.errors import ClusterError


class Step:
    """One line of progress; `note` shows what it is at."""

    def __init__(self, title: str, status: rich.status.Status | None) -> None:
        self.title = title
        self._status = status
        self.result = ""

    def note(self, text: str) -> None:
        """Show a detail, on a terminal only."""
        if self._status:
            self._status.update(f"{escape(self.title)} [dim]{escape(text[:100])}[/dim]")


class Console:
    """Prints steps with the seconds that each took."""

    def __init__(self) -> None:
        width = None if sys.stdout.isatty() else 160
        self.out = rich.console.Console(highlight=False, soft_wrap=True, width=width)

    def say(self, text: str = "") -> None:
        """A line, with rich's markup."""
        self.out.print(text)

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Announce `title`, and say when it is done."""
        started = time.monotonic()
        status = self.out.status(escape(title)) if self.out.is_terminal else None
        step = Step(title, status)
        if status:
            status.start()
        else:
            self.say(f"… {escape(title)}")
        done = False
        try:
            yield step
            done = True
        finally:
            if status:
                status.stop()
            sign = "[green]✓[/green]" if done else "[red]✗[/red]"
            result = f": {step.result}" if step.result else ""
            seconds = time.monotonic() - started
            self.say(f"{sign} {escape(title + result)} [dim]({seconds:.1f} s)[/dim]")


def tail(path: Path, lines: int = 15) -> str:
    """The last lines of a file, indented; empty where it cannot be read."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 16_384))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:])


def run_logged(
    step: Step,
    argv: list[str],
    log: Path,
    *,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
) -> None:
    """Run a command with its output in `log`. Raises ClusterError with the log's last lines."""
    with log.open("wb") as output:
        try:
            process = subprocess.Popen(  # noqa: S603 - commands of the description and our own
                argv, stdout=output, stderr=subprocess.STDOUT, env=env, cwd=cwd
            )
        except OSError as error:
            raise ClusterError(f"{step.title}: cannot run {argv[0]}: {error.strerror}") from None
        stop = threading.Event()
        thread = threading.Thread(target=_follow, args=(step, log, stop), daemon=True)
        thread.start()
        try:
            status = process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
        finally:
            stop.set()
            thread.join()
    if status:
        raise ClusterError(
            f"{step.title}: `{' '.join(argv)}` ended with status {status}. "
            f"The log is {log}; its last lines:\n{tail(log)}"
        )


def _follow(step: Step, log: Path, stop: threading.Event) -> None:
    """Show the log's last line until `stop`."""
    while not stop.wait(0.3):
        lines = tail(log, 1).strip()
        if lines:
            step.note(lines)

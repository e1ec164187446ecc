"""Migrating one database: its lock, its row in the ledger, its migrations, and tries for locks."""

import time
from dataclasses import dataclass, field
from threading import Event
from typing import Protocol

from django.core.management.base import CommandError
from django.db import Error, connections

from routers.conf import CATALOG
from routers.direct import Limits, Stopped, exclusive, lock_not_had, set_limits
from routers.exceptions import RoutingError
from routers.migrating import ledger
from routers.migrating.applying import Applying

__all__ = ["PAUSES", "MigratingOne", "NotUndone", "Outcome", "Report"]

PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)  # seconds between tries for a lock that was not had


@dataclass
class Outcome:
    """What became of one database. `error` says why it is not migrated, at which `migration`.

    `left`: nothing was begun. `held`: the migrations that wait for the phase after the deployment.
    """

    database: str
    applied: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    migration: str | None = None
    error: str | None = None
    left: bool = False
    seconds: float = 0.0


class Report(Protocol):
    """Who shows a run. Called from many threads."""

    def at(self, database: str, what: str, number: int, total: int) -> None:
        """A migration begins: the `number`th of `total`."""

    def note(self, database: str, text: str) -> None:
        """Something that a person may want to know; `database` may be empty."""

    def done(self, outcome: Outcome) -> None:
        """A database is finished, well or not."""


class NotUndone(RoutingError):
    """A migration without a transaction failed on its way."""

    def __init__(self, migration: object, error: Exception) -> None:
        super().__init__(
            f"{_told(error)} ({migration} is not atomic, so part of it may have been done: look, "
            f"and undo that, before running again. An index that is INVALID is to be dropped.)"
        )


class MigratingOne:
    """The work on one database, in a thread with connections of its own."""

    def __init__(self, run: str, alias: str, phase: str, limits: Limits) -> None:
        self.run_id = run
        self.alias = alias
        self.phase = phase
        self.limits = limits
        self.outcome = Outcome(alias)

    def run(self, report: Report, stop: Event) -> Outcome:
        """Migrate it. What went wrong is in the outcome and in the ledger; nothing is raised."""
        outcome, began = self.outcome, time.monotonic()
        self.report, self.stop = report, stop
        self.entry = ledger.Entry(self.run_id, self.alias, self.phase)
        try:
            if self.alias != CATALOG:
                self.entry.begin()
            self._migrate()
        except Exception as error:  # a migration may raise anything, and the others go on
            outcome.error = _told(error)
            outcome.left = isinstance(error, Stopped)
        outcome.seconds = time.monotonic() - began
        self._close_entry()
        connections.close_all()
        return outcome

    def _migrate(self) -> None:
        purpose = f"migrate_shards {self.run_id}"
        with exclusive(self.alias, self.limits, purpose, self.stop) as connection:
            work = Applying(connection, self.phase, self._at, self._applied)
            if self.alias == CATALOG:  # the ledger's own table first, to have where to write
                self._try_for_locks(work, app_label="routers")
                self.entry.begin()
            self._try_for_locks(work)
            self.outcome.held = work.held

    def _at(self, name: str, number: int, total: int) -> None:
        self.report.at(self.alias, name, number, total)

    def _applied(self, name: str) -> None:
        self.outcome.applied.append(name)
        self.entry.add(name)

    def _try_for_locks(self, work: Applying, app_label: str | None = None) -> None:
        """Apply; again after a pause where a lock was not had, and then what is left by then."""
        for pause in (*PAUSES, None):
            set_limits(work.connection, self.limits)
            try:
                return work.run_app(app_label) if app_label else work.run()
            except Exception as error:
                at = str(work.current) if work.current else None
                if work.current and not work.current.atomic:
                    self.outcome.migration = at
                    raise NotUndone(at, error) from error
                if not pause or not lock_not_had(error) or self.stop.wait(pause):
                    self.outcome.migration = at
                    raise
                self._note_lock(at, pause)
        return None

    def _note_lock(self, migration: str | None, pause: float) -> None:
        self.report.note(
            self.alias,
            f"{migration or 'before or after its migrations'}: a lock was not had within "
            f"{self.limits.lock_timeout:g} s, tried again after {pause:g} s",
        )

    def _close_entry(self) -> None:
        outcome = self.outcome
        where = f"{outcome.migration}: " if outcome.migration else ""
        try:
            self.entry.finish(f"{where}{outcome.error}" if outcome.error else "")
        except Error as error:  # the catalog is away: the row stays open, and counts as interrupted
            untold = f"the ledger could not be written: {_told(error)}"
            outcome.error = f"{outcome.error}; {untold}" if outcome.error else untold


def _told(error: Exception) -> str:
    text = str(error).strip()
    if isinstance(error, RoutingError | CommandError):
        return text
    return f"{type(error).__name__}: {text}"

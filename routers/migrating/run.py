"""Migrations over all shards: the catalog, one canary, then the rest in parallel.

A run may be killed at any instant. Each database says itself which migrations it has
(django_migrations, written in each migration's own transaction), so the next run does what is left;
the ledger in the catalog says what was done when. A shard that fails leaves the others done.
"""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from threading import Event

from routers.conf import CATALOG, settings
from routers.direct import Limits
from routers.exceptions import RoutingError
from routers.migrating import ledger
from routers.migrating.applying import check_migrations
from routers.migrating.one import MigratingOne, Outcome, Report

__all__ = ["Options", "Run", "chosen_databases"]


@dataclass(frozen=True)
class Options:
    """What an operator may say. `only`: these databases; `canary`: None is the first by name."""

    only: Sequence[str] = ()
    canary: str | None = None
    phase: str = "all"
    jobs: int = 8
    limits: Limits = field(default_factory=Limits)


def chosen_databases(only: Sequence[str]) -> list[str]:
    """The catalog and the shards by name, or those of them that `only` names.

    Raises RoutingError for a name that is neither.
    """
    every = [CATALOG, *sorted(settings().shards)]
    if unknown := sorted(set(only) - set(every)):
        raise RoutingError(f"{', '.join(unknown)}: no such database. There are {', '.join(every)}.")
    return [alias for alias in every if alias in only or not only]


class Run:
    """One run over the databases that the options choose. Raises RoutingError for unknown ones."""

    def __init__(self, options: Options) -> None:
        self.id = ledger.new_run()
        self.options = options
        self.databases = chosen_databases(options.only)
        self.canary = self._canary()
        self.outcomes: dict[str, Outcome] = {}
        self._stop = Event()

    @property
    def stopped(self) -> bool:
        """Whether Ctrl-C ended it."""
        return self._stop.is_set()

    @property
    def failed(self) -> list[Outcome]:
        """What went wrong, in the order of the databases."""
        found = [self.outcomes[alias] for alias in self.databases if alias in self.outcomes]
        return [outcome for outcome in found if outcome.error and not outcome.left]

    @property
    def left(self) -> list[str]:
        """The databases on which nothing was begun."""
        begun = {alias for alias, outcome in self.outcomes.items() if not outcome.left}
        return [alias for alias in self.databases if alias not in begun]

    def run(self, report: Report) -> None:
        """Migrate, stage by stage, until a stage fails or Ctrl-C. Look at `failed` and `left` then.

        Raises RoutingError or CommandError where nothing could begin.
        """
        check_migrations()
        with ledger.present(self.id):
            if CATALOG not in self.databases and not ledger.exists():
                raise RoutingError(
                    "The catalog has no ledger yet: run `manage.py migrate_shards` without --only "
                    "first, or with --only default."
                )
            for stage in self._stages():
                self._run_stage(stage, report)
                if self.stopped or self.failed:
                    return

    def _canary(self) -> str | None:
        shards = [alias for alias in self.databases if alias != CATALOG]
        wanted = self.options.canary
        if wanted and wanted not in shards:
            known = ", ".join(shards) or "none"
            raise RoutingError(f"--canary {wanted} is no shard of this run. There are: {known}.")
        return wanted or next(iter(shards), None)

    def _stages(self) -> list[list[str]]:
        catalog = [alias for alias in self.databases if alias == CATALOG]
        canary = [self.canary] if self.canary else []
        rest = [alias for alias in self.databases if alias not in (*catalog, *canary)]
        return [stage for stage in (catalog, canary, rest) if stage]

    def _run_stage(self, stage: list[str], report: Report) -> None:
        with ThreadPoolExecutor(max_workers=self.options.jobs) as pool:
            futures = [pool.submit(self._work(alias).run, report, self._stop) for alias in stage]
            while not self._collected(futures, report):
                self._stop.set()
                futures = [future for future in futures if not future.cancel()]
                report.note("", "stopping: what is begun is finished, and nothing else begun")

    def _work(self, alias: str) -> MigratingOne:
        return MigratingOne(self.id, alias, self.options.phase, self.options.limits)

    def _collected(self, futures: list[Future[Outcome]], report: Report) -> bool:
        """Wait for all of them; False for Ctrl-C."""
        try:
            for future in as_completed(futures):
                outcome = future.result()
                if outcome.database not in self.outcomes:
                    self.outcomes[outcome.database] = outcome
                    report.done(outcome)
        except KeyboardInterrupt:
            return False
        return True

"""`manage.py reference publish | subscribe | unsubscribe | status | check | repair`."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import as_completed
from typing import Any, TypeVar

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error, connections
from rich.console import Console
from rich.table import Table

from routers.conf import CATALOG, settings
from routers.exceptions import RoutingError
from routers.reference import carry, publication, subscriptions
from routers.reference.status import CopyStatus, copy_statuses
from routers.threads import AccountThreadPool

T = TypeVar("T")
ON_SQLITE = "On SQLite copies are made as rows are written: nothing to do."
REPAIR = "manage.py reference repair"


class Command(BaseCommand):
    help = "Carries the reference models from the catalog to every shard, and proves them equal."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        actions.add_parser("publish", help="publish their tables in the catalog (as the owner)")
        for name, text in (
            ("subscribe", "subscribe each shard (as a superuser); run again, it does what is left"),
            ("check", "compare every copy with the catalog, row by row; 1 where one differs"),
            ("repair", "make copies equal to the catalog (as a superuser)"),
        ):
            self._add(actions, name, text).add_argument("shards", nargs="*", metavar="SHARD")
        leave = self._add(actions, "unsubscribe", "end a shard's subscription (as a superuser)")
        leave.add_argument("shards", nargs="+", metavar="SHARD")
        leave.add_argument(
            "--lost", action="store_true", help="the shard is gone: only its slot in the catalog"
        )
        status = actions.add_parser("status", help="how far each shard is, and what is kept for it")
        status.add_argument("--json", action="store_true", help="for a program")

    @staticmethod
    def _add(actions: Any, name: str, text: str) -> Any:
        parser = actions.add_parser(name, help=text)
        parser.add_argument("--timeout", type=float, default=30, help="seconds for each wait")
        parser.add_argument("--jobs", type=int, default=8, help="shards at once (default: 8)")
        if name == "check":
            parser.add_argument("--json", action="store_true", help="for a program")
        return parser

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        try:
            getattr(self, f"_{action}")(options)
        except RoutingError as error:
            raise CommandError(str(error)) from error

    def _publish(self, options: dict[str, Any]) -> None:
        if not _has_servers():
            self.stdout.write(ON_SQLITE)
            return
        added, dropped = publication.publish()
        changes = [*(f"+ {table}" for table in added), *(f"- {table}" for table in dropped)]
        self.stdout.write(f"Published: {', '.join(changes) or 'nothing new'}.")
        if changes:
            self.stdout.write("Shards follow by `manage.py reference subscribe`.")

    def _subscribe(self, options: dict[str, Any]) -> None:
        if not _has_servers():
            self.stdout.write(ON_SQLITE)
            return
        self._each(lambda shard: subscriptions.subscribe(shard, options["timeout"]), options)

    def _unsubscribe(self, options: dict[str, Any]) -> None:
        if not _has_servers():
            self.stdout.write(ON_SQLITE)
            return
        timeout, lost = options["timeout"], options["lost"]

        def leave(shard: str) -> str:
            had = subscriptions.unsubscribe(shard, timeout, lost=lost)
            return "unsubscribed; its rows stay" if had else "was not subscribed"

        self._each(leave, options)

    def _repair(self, options: dict[str, Any]) -> None:
        def mend(shard: str) -> str:
            if _has_servers():
                changed = subscriptions.repair(shard, options["timeout"])
            else:
                changed = carry.make_equal(shard)
            rows = {label: count for label, count in changed.items() if count}
            return ", ".join(f"{count} {label}" for label, count in rows.items()) or "was equal"

        self._each(mend, options)

    def _check(self, options: dict[str, Any]) -> None:
        work = lambda shard: carry.check(shard, options["timeout"])  # noqa: E731
        found, failed = [], {}
        for shard, outcome in _over(_chosen(options), work, options["jobs"]):
            if isinstance(outcome, carry.Verdict):
                found.append(outcome)
            else:
                failed[shard] = outcome
        found.sort(key=lambda verdict: verdict.shard)
        if options["json"]:
            away = [{"shard": s, "equal": None, "problem": str(e)} for s, e in failed.items()]
            self.stdout.write(json.dumps([v.as_dict() for v in found] + away, default=str))
        for verdict in found if not options["json"] else []:
            lines = [str(one) for one in verdict.differences] or [f"{verdict.shard}: equal"]
            self.stdout.write("\n".join([*lines, *([verdict.problem] if verdict.problem else [])]))
        self.stdout.flush()  # before the error, also where both go into one pipe
        unequal = [verdict.shard for verdict in found if not verdict.is_equal]
        if unequal:
            raise CommandError(
                f"Not equal to the catalog: {', '.join(unequal)}. Mend it, as a superuser: "
                f"`{REPAIR} {' '.join(unequal)}`."
            )
        _raise(failed, "Not compared")

    def _status(self, options: dict[str, Any]) -> None:
        statuses = copy_statuses()
        if options["json"]:
            self.stdout.write(json.dumps([status.as_dict() for status in statuses]))
        else:
            Console(file=self.stdout).print(_table(statuses))  # type: ignore[arg-type]

    def _each(self, work: Callable[[str], str], options: dict[str, Any]) -> None:
        """Do it on every chosen shard; one that fails leaves the others done."""
        shards, failed = _chosen(options), {}
        for done, (shard, outcome) in enumerate(_over(shards, work, options["jobs"]), start=1):
            said = outcome
            if isinstance(outcome, Exception):
                failed[shard] = outcome
                said = f"failed: {str(outcome).strip()}"
            self.stdout.write(f"[{done}/{len(shards)}] {shard}: {said}")
        _raise(failed, "Not done")


def _has_servers() -> bool:
    return connections[CATALOG].vendor == "postgresql"


def _chosen(options: dict[str, Any]) -> list[str]:
    """The shards named, or all. `unsubscribe` may name one that is gone."""
    known, named = sorted(settings().shards), options["shards"]
    unknown = sorted(set(named) - set(known))
    if unknown and "lost" not in options:
        raise CommandError(f"No shard: {', '.join(unknown)}. There are {', '.join(known)}.")
    return sorted(set(named)) or known


def _over(
    shards: list[str], work: Callable[[str], T], jobs: int
) -> Iterator[tuple[str, T | Exception]]:
    """Each shard with what came of it, as they end. SQLite's databases are this thread's."""
    if not _has_servers():
        yield from ((shard, _outcome(work, shard)) for shard in shards)
        return
    with AccountThreadPool(max_workers=jobs) as pool:
        running = {pool.submit(_outcome, work, shard): shard for shard in shards}
        for future in as_completed(running):
            yield running[future], future.result()


def _outcome(work: Callable[[str], T], shard: str) -> T | Exception:
    try:
        return work(shard)
    except (RoutingError, Error) as error:
        return error


def _raise(failed: dict[str, Any], what: str) -> None:
    if failed:
        reasons = "; ".join(f"{shard} ({str(failed[shard]).strip()})" for shard in sorted(failed))
        raise CommandError(f"{what}: {reasons}. Mend it and run the same command again.")


def _table(statuses: list[CopyStatus]) -> Table:
    table = Table("shard", "subscription", "tables", "errors", "behind", "WAL kept", "problem")
    for column in table.columns[2:6]:
        column.justify = "right"
    for status in statuses:
        figures = [status.tables, status.errors, status.behind_bytes, status.kept_bytes]
        shown = ["?" if figure is None else f"{figure:,}" for figure in figures]
        table.add_row(status.shard, status.state, *shown, status.problem)
    return table

"""`manage.py migrate_shards`: the catalog, one shard, then all others; `--check`, `--history`."""

import json
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error

from routers.direct import Limits
from routers.exceptions import RoutingError
from routers.migrating import ledger
from routers.migrating.applying import PHASES
from routers.migrating.drift import find_drift
from routers.migrating.reporting import drift_table, failure, history_table, report, show
from routers.migrating.run import Options, Run, chosen_databases

INTERRUPTED = 130  # what a shell reports of a command that Ctrl-C ended


class Command(BaseCommand):
    help = (
        "Migrates the catalog, then one shard (the canary), then the other shards in parallel. May "
        "be killed at any instant; run again, it does what is left. On PostgreSQL it needs the "
        "databases' own addresses, not a pooler's, and the role that owns the tables."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        what = parser.add_argument_group("what to do (without one of these: migrate)")
        one = what.add_mutually_exclusive_group()
        one.add_argument("--check", action="store_true", help="compare each schema with the models")
        one.add_argument(
            *("--history",), nargs="?", type=int, const=100, metavar="ROWS", help="show the ledger"
        )
        what.add_argument("--json", action="store_true", help="--check and --history for a program")
        which = parser.add_argument_group("which databases and migrations")
        which.add_argument(
            *("--only",), action="append", default=[], metavar="ALIAS", help="may be repeated"
        )
        which.add_argument("--canary", metavar="ALIAS", help="default: the first shard by name")
        which.add_argument(
            *("--phase",),
            choices=PHASES,
            default="all",
            help='before: hold back migrations with phase = "after", and what depends on them; '
            "after, all: whatever is left (default: all)",
        )
        how = parser.add_argument_group("how")
        how.add_argument("--jobs", type=_positive, default=8, help="shards at once (default: 8)")
        how.add_argument(
            *("--lock-timeout",),
            type=float,
            default=Limits.lock_timeout,
            metavar="S",
            help="seconds to wait for a table's lock, before a pause and another try (default: 5)",
        )
        how.add_argument(
            *("--statement-timeout",),
            type=float,
            default=Limits.statement_timeout,
            metavar="S",
            help="seconds for one statement; 0: any time, since an index may rightly take hours, "
            "and who waits for a lock is held up by --lock-timeout at most (default: 0)",
        )
        how.add_argument(
            *("--wait",),
            type=float,
            default=Limits.wait,
            metavar="S",
            help="seconds to wait for another run in the same database (default: 60)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["history"] is not None:
                self._history(options)
            elif options["check"]:
                self._check(options)
            else:
                self._migrate(options)
        except RoutingError as error:
            raise CommandError(str(error)) from error
        except Error as error:
            raise CommandError(f"The catalog does not answer as it should: {error}") from error

    def _migrate(self, options: dict[str, Any]) -> None:
        limits = Limits(options["lock_timeout"], options["statement_timeout"], options["wait"])
        names = ("only", "canary", "phase", "jobs")
        chosen = Options(**{name: options[name] for name in names}, limits=limits)
        run = Run(chosen)
        # Not self.stdout itself, which ends every write with a new line: a bar has none.
        stream: Any = self.stdout._out
        with report(stream, len(run.databases)) as shown:
            run.run(shown)
        if run.failed or run.left:
            raise CommandError(failure(run), returncode=INTERRUPTED if run.stopped else 1)
        call_command("shards", "init", stdout=self.stdout)

    def _history(self, options: dict[str, Any]) -> None:
        if not ledger.exists():
            raise CommandError("The catalog has no ledger yet: run `manage.py migrate_shards`.")
        rows = ledger.history(options["history"])
        if options["json"]:
            self.stdout.write(json.dumps(rows))
        else:
            show(self.stdout, history_table(rows))  # type: ignore[arg-type]

    def _check(self, options: dict[str, Any]) -> None:
        databases = chosen_databases(options["only"])
        findings = find_drift(databases, phase=options["phase"], jobs=options["jobs"])
        errors = [finding for finding in findings if finding.severity == "error"]
        if options["json"]:
            self.stdout.write(json.dumps([finding.as_dict() for finding in findings]))
        elif findings:
            show(self.stdout, drift_table(findings))  # type: ignore[arg-type]
        self.stdout.flush()  # before the error, also where both go into one pipe
        if errors:
            where = ", ".join(dict.fromkeys(finding.database for finding in errors))
            raise CommandError(
                f"{len(errors)} differences on {where}. Run `manage.py migrate_shards` for "
                f"migrations that are unapplied; for the rest, mend the database by hand, or the "
                f"models by a migration."
            )
        if not options["json"]:
            extras = f", but for {len(findings)} warnings" if findings else ""
            self.stdout.write(f"{', '.join(databases)}: as the models ask{extras}.")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number

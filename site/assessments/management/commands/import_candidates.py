"""`manage.py import_candidates FILE.csv --account SLUG [--test NAME]`."""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from accounts.models import Account
from accounts.selectors import account_of_slug
from assessments.imports import ImportRefused, ImportResult, import_candidates
from assessments.models import Test
from routers.commands import AccountCommand

SHOWN = 20  # rejected rows named on the terminal; the file beside the input has all


class Command(AccountCommand):
    help = "Adds candidates from a CSV file (columns email and name) and invites them to a test."
    account_metavar = "SLUG"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument(
            "--test", metavar="NAME", help="also invite each candidate to this test"
        )

    def find_account(self, given: str) -> int:
        try:
            return account_of_slug(given).pk
        except Account.DoesNotExist:
            raise CommandError(f"--account {given}: there is no such account.") from None

    def handle(self, *args: Any, file: Path, **options: Any) -> None:
        result = self._import(file, _test(options["test"]))
        self._report(file, result)

    def _import(self, file: Path, test: Test | None) -> ImportResult:
        rejects = _rejects_path(file)
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
        console = Console(stderr=True)
        try:
            with (
                file.open("rb") as lines,
                rejects.open("w", newline="", encoding="utf-8") as refused,
                Progress(*columns, TimeRemainingColumn(), console=console) as progress,
            ):
                task = progress.add_task(file.name, total=file.stat().st_size)
                result = import_candidates(
                    lines,
                    test=test,
                    rejects=refused,
                    progress=lambda read: progress.update(task, completed=read),
                )
        except (OSError, ImportRefused) as error:
            rejects.unlink(missing_ok=True)
            raise CommandError(f"{file}: {error}") from error
        if not result.rejected:
            rejects.unlink()
        return result

    def _report(self, file: Path, result: ImportResult) -> None:
        self.stdout.write(
            f"{result.added:,} candidates added, {result.unchanged:,} were there already, "
            f"{result.invited:,} invited, {len(result.rejected):,} rows rejected."
        )
        for row in result.rejected[:SHOWN]:
            self.stderr.write(f"{file}:{row.line}: {row.reason}")
        if result.rejected:
            raise CommandError(
                f"The rejected rows are in {_rejects_path(file)}. Mend them there and import that "
                f"file, or mend {file.name} and import it again: nothing is added twice."
            )


def _rejects_path(file: Path) -> Path:
    return file.with_name(f"{file.stem}.rejected.csv")


def _test(name: str | None) -> Test | None:
    if name is None:
        return None
    try:
        return Test.objects.get(name=name)
    except Test.DoesNotExist:
        known = ", ".join(repr(test.name) for test in Test.objects.order_by("name")[:20])
        raise CommandError(f"--test {name!r}: the account has {known or 'no test yet'}.") from None

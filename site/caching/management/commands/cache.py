"""`manage.py cache bump | status`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from caching.conf import settings
from caching.service import state
from caching.writes import bump_account, bump_database
from routers.conf import CATALOG
from routers.conf import settings as sharding
from routers.exceptions import RoutingError

OFF_BY_SETTINGS = "Nothing is cached: the settings have no CACHING."


class Command(BaseCommand):
    help = (
        "Forgets what is cached of rows that were changed past Django, and says what is in service."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        bump = actions.add_parser("bump", help="forget; after the change was committed")
        of_what = bump.add_mutually_exclusive_group(required=True)
        of_what.add_argument("--account", type=int, metavar="ID", help="what is kept of an account")
        of_what.add_argument("--database", metavar="ALIAS", help="all of a shard, or of default")
        actions.add_parser("status", help="each database's cache: in service or not, and its epoch")

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        if not settings().enabled:
            raise CommandError(OFF_BY_SETTINGS)
        try:
            getattr(self, f"_{action}")(options)
        except RoutingError as error:
            raise CommandError(str(error)) from error

    def _bump(self, options: dict[str, Any]) -> None:
        account, alias = options["account"], options["database"]
        if account is not None:
            bump_account(account)
            self.stdout.write(f"What was kept of account {account} is forgotten.")
            return
        if alias not in _databases():
            known = ", ".join(_databases())
            raise CommandError(f"There is no database {alias!r}. There are: {known}.")
        bump_database(alias)
        self.stdout.write(f"What was kept of {alias} is forgotten.")

    def _status(self, options: dict[str, Any]) -> None:
        for alias in _databases():
            found = state(alias)
            if found is None:
                line = "no cache: run `manage.py migrate_shards`"
            else:
                epoch, is_off = found
                how = "off: a writer could not reach Redis" if is_off else "in service"
                line = f"{how}, epoch {epoch}"
            self.stdout.write(f"{alias}: {line}")


def _databases() -> list[str]:
    return [CATALOG, *sorted(sharding().shards)]

"""`manage.py in_account 42 COMMAND …` runs any command inside an account.

`manage.py in_account --shard shard01 COMMAND …` runs it over every account of a shard.
"""

import argparse
from typing import Any

from django.core.management import ManagementUtility
from django.core.management.base import BaseCommand, CommandError, CommandParser

from routers.context import Switch, account_context, all_accounts
from routers.exceptions import InvalidAccount, RoutingError


class Command(BaseCommand):
    help = "Runs another command inside an account: in_account 42 shell"
    requires_system_checks = []  # the other command has its own

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--shard", metavar="ALIAS", help="every account of this shard instead")
        parser.add_argument(
            "words", nargs=argparse.REMAINDER, metavar="[ACCOUNT] COMMAND …", help="what to run"
        )

    def handle(self, *args: Any, shard: str | None, words: list[str], **options: Any) -> None:
        scope = _scope_of(shard, words)
        command = words if shard else words[1:]
        if not command:
            raise CommandError("Which command? For example: manage.py in_account 42 shell")
        argv = ["manage.py", *command]
        with scope:
            ManagementUtility(argv).fetch_command(command[0]).run_from_argv(argv)


def _scope_of(shard: str | None, words: list[str]) -> Switch:
    try:
        if shard:
            return all_accounts(shard)
        seen = words[0] if words else ""
        return account_context(int(seen) if seen.isdecimal() else seen)  # type: ignore[arg-type]
    except InvalidAccount as error:
        raise CommandError(f"{error} Say whose work it is: manage.py in_account 42 shell") from None
    except RoutingError as error:
        raise CommandError(str(error)) from None

"""Management commands that work in one account."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from routers.context import account_context
from routers.exceptions import InvalidAccount

__all__ = ["AccountCommand"]


class AccountCommand(BaseCommand):
    """A command with `--account ID`, whose `handle` runs inside that account.

    `account_required = False` makes the option optional: without it there is no account.
    """

    account_required = True
    account_metavar = "ID"

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Here rather than in `add_arguments`, which a subclass overrides without super()."""
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        parser.add_argument(
            "--account",
            required=self.account_required,
            metavar=self.account_metavar,
            help="the account to work in",
        )
        return parser

    def execute(self, *args: Any, **options: Any) -> str | None:
        given = options.get("account")
        if given is None and not self.account_required:
            return super().execute(*args, **options)
        account_id = self.find_account(str(given))
        try:
            context = account_context(account_id)
        except InvalidAccount as error:
            raise CommandError(f"--account {given}: {error}") from None
        with context:
            return super().execute(*args, **options)

    def find_account(self, given: str) -> int:
        """The id of what stands after `--account`. A project overrides it to look accounts up.

        Raises CommandError for what is no account.
        """
        try:
            return int(given)
        except ValueError:
            raise CommandError(f"--account {given}: {InvalidAccount(given)}") from None

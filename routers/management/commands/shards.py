"""`manage.py shards init | status | where ACCOUNT`."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.table import Table

from routers.conf import settings
from routers.context import account_context
from routers.exceptions import NoShardMap, RoutingError
from routers.inspection import ShardStatus, shard_statuses
from routers.shard_map import SLOTS, ShardMap, current_map, publish_map, shard_of


class Command(BaseCommand):
    help = "Shows the shards and the shard map; makes the first map."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        actions.add_parser("init", help="store a first map, slots spread evenly, if there is none")
        status = actions.add_parser("status", help="accounts, slots, rows and size by shard")
        status.add_argument("--json", action="store_true", help="for a program")
        where = actions.add_parser("where", help="the shard of an account")
        where.add_argument("account", type=int, help="the account's id")

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        try:
            getattr(self, f"_{action}")(options)
        except RoutingError as error:
            raise CommandError(str(error)) from error

    def _init(self, options: dict[str, Any]) -> None:
        try:
            self.stdout.write(f"The catalog holds version {current_map().version} of the map.")
        except NoShardMap:
            first = publish_map(ShardMap.even(sorted(settings().shards)), reason="first map")
            self.stdout.write(f"Stored version {first.version}: {dict(first.slots_by_shard())}.")

    def _status(self, options: dict[str, Any]) -> None:
        statuses = shard_statuses()
        if options["json"]:
            self.stdout.write(json.dumps([status.as_dict() for status in statuses]))
        else:
            Console(file=self.stdout).print(_table(statuses))  # type: ignore[arg-type]

    def _where(self, options: dict[str, Any]) -> None:
        account = options["account"]
        with account_context(account):
            self.stdout.write(f"{shard_of(account)} (slot {account % SLOTS})")


def _table(statuses: list[ShardStatus]) -> Table:
    table = Table("shard", "slots", "accounts", "rows", "MiB", "error")
    for column in table.columns[1:5]:
        column.justify = "right"
    for status in statuses:
        mib = status.size_bytes / 2**20 if status.size_bytes is not None else None
        figures = [status.slots, status.accounts, status.rows, mib]
        shown = ["?" if figure is None else f"{figure:,.0f}" for figure in figures]
        table.add_row(status.shard, *shown, status.error or "")
    return table

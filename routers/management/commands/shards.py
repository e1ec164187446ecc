"""`manage.py shards init | status | tell | owned | where | top | check | move | moves`."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.http import Http404, HttpRequest
from rich.console import Console, RenderableType

from routers.conf import settings
from routers.context import account_context
from routers.exceptions import NoShardMap, RoutingError
from routers.inspection.audit import find_problems
from routers.inspection.largest import NEWEST_ROWS, largest_accounts
from routers.inspection.owned import owned_by
from routers.inspection.status import shard_statuses
from routers.inspection.tables import load_table, problem_table, status_table
from routers.moving import command
from routers.ownership.telling import tell, tell_new
from routers.shard_map import SLOTS, ShardMap, current_map, publish_map, refresh_map


class Command(BaseCommand):
    help = "Shows the shards and the shard map; makes the first map."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        actions.add_parser("init", help="store a first map, slots spread evenly, if there is none")
        status = actions.add_parser("status", help="each shard's server, figures, lag and schema")
        status.add_argument("--exact", action="store_true", help="count the rows of large tables")
        tell = actions.add_parser(
            "tell", help="tell each shard what it owns, which it then enforces"
        )
        tell.add_argument("--new", action="store_true", help="only those that were never told")
        owned = actions.add_parser("owned", help="a shard's slots, pins and accounts; 1 if any")
        owned.add_argument("shard")
        where = actions.add_parser("where", help="the shard of an account")
        where.add_argument("account", help="the account's id, or its slug")
        top = actions.add_parser("top", help="the largest accounts, and the busiest")
        top.add_argument("--by", choices=("rows", "size", "new"), default="rows")
        top.add_argument("--limit", type=int, default=10)
        top.add_argument("--hours", type=float, default=24.0, help="how long a row is new")
        check = actions.add_parser("check", help="every row where the map says; 1 if not")
        check.add_argument(
            "--links", action="store_true", help="read all references between sharded rows too"
        )
        move = actions.add_parser("move", help="take accounts to another shard while in use")
        command.add_arguments(move)
        moves = actions.add_parser("moves", help="the newest moves, and those under way")
        moves.add_argument("--limit", type=int, default=20)
        for action in (status, tell, owned, where, top, check, move, moves):
            action.add_argument("--json", action="store_true", help="for a program")

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

    def _tell(self, options: dict[str, Any]) -> None:
        snapshot = refresh_map()
        problems = tell_new(snapshot) if options["new"] else tell(snapshot)
        if options["json"]:
            self._as_json({"version": snapshot.version, "left": problems})
        else:
            for problem in problems:
                self.stdout.write(problem)
            what = "All but that" if problems else "Every shard"
            self.stdout.write(f"{what} is told version {snapshot.version} of the map.")
        if problems:
            raise SystemExit(1)

    def _status(self, options: dict[str, Any]) -> None:
        statuses = shard_statuses(exact=options["exact"])
        if options["json"]:
            self._as_json([status.as_dict() for status in statuses])
            return
        self._show(status_table(statuses))
        for status in statuses:
            if status.error is not None:
                self.stdout.write(f"{status.shard} is away: {status.error}")
        if not all(status.rows_are_exact for status in statuses):
            self.stdout.write("~ is an estimate of the planner; --exact counts.")
        self.stdout.write(f"Version {current_map().version} of the map.")

    def _owned(self, options: dict[str, Any]) -> None:
        found = owned_by(options["shard"])
        if options["json"]:
            self._as_json(found.as_dict())
        else:
            accounts = "?" if found.accounts is None else found.accounts
            self.stdout.write(
                f"{found.shard}: {found.slots} slots, {found.pins} pins, rows of {accounts} "
                f"accounts{f' ({found.error})' if found.error else ''}."
            )
        if not found.is_nothing:
            raise SystemExit(1)

    def _where(self, options: dict[str, Any]) -> None:
        account = _account(options["account"])
        snapshot = current_map()
        shard, slot, pinned = snapshot.shard_of(account), account % SLOTS, account in snapshot.pins
        if options["json"]:
            found = {"account": account, "shard": shard, "slot": slot, "pinned": pinned}
            self._as_json(found | {"version": snapshot.version})
            return
        self.stdout.write(f"{shard} (slot {slot}{', pinned' if pinned else ''})")

    def _top(self, options: dict[str, Any]) -> None:
        by = {"rows": "rows", "size": "size_bytes", "new": "new_rows"}[options["by"]]
        hours = options["hours"]
        loads, away = largest_accounts(limit=options["limit"], by=by, hours=hours)
        if options["json"]:
            self._as_json({"accounts": [load.as_dict() for load in loads], "away": away})
            return
        self._show(load_table(loads, hours))
        for shard, error in away.items():
            self.stdout.write(f"{shard} is away, its accounts are missing: {error}")
        self.stdout.write(
            "~ is an estimate: large tables by a sample of 32 MB, sizes by the share of rows.\n"
            f"New: born in that time, of the newest {NEWEST_ROWS:,} rows of each table. Reads are "
            "not known."
        )

    def _check(self, options: dict[str, Any]) -> None:
        problems = find_problems(links=options["links"])
        if options["json"]:
            self._as_json([problem.as_dict() for problem in problems])
        elif problems:
            self._show(problem_table(problems))
        else:
            shards = len(settings().shards)
            version = current_map().version
            self.stdout.write(f"{shards} shards are as version {version} of the map says.")
        if problems:
            raise SystemExit(1)

    def _move(self, options: dict[str, Any]) -> None:
        accounts = [_account(given) for given in options["accounts"]]
        if not command.run(accounts, options, self.stdout):  # type: ignore[arg-type]
            raise SystemExit(1)

    def _moves(self, options: dict[str, Any]) -> None:
        command.show_moves(options, self.stdout)  # type: ignore[arg-type]

    def _as_json(self, found: object) -> None:
        self.stdout.write(json.dumps(found))

    def _show(self, *tables: RenderableType) -> None:
        Console(file=self.stdout).print(*tables)  # type: ignore[arg-type]


def _account(given: str) -> int:
    """An id, or what the project's ACCOUNT_FROM_SLUG makes of a slug."""
    find = settings().account_from_slug
    if given.lstrip("-").isdigit() or find is None:
        with account_context(int(given) if given.lstrip("-").isdigit() else given):  # type: ignore[arg-type]
            return int(given)
    try:
        return find(HttpRequest(), given)
    except Http404:
        raise CommandError(f"There is no account {given!r}. Give its id or its slug.") from None

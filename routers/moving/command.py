"""`manage.py shards move ACCOUNT… --to SHARD`, and `shards moves`: its arguments and its work."""

import json
from collections.abc import Callable
from typing import Any, TextIO

from django.core.management.base import CommandParser
from django.db import Error
from rich.console import Console, RenderableType

from routers.conf import CATALOG
from routers.exceptions import RoutingError
from routers.models import Move
from routers.moving import journal
from routers.moving.copying import Pace
from routers.moving.errors import MoveRefused
from routers.moving.plan import Plan, plan_move
from routers.moving.reporting import Report, move_table, plan_table, report
from routers.moving.settling import release, resume_moves
from routers.moving.several import Outcome, move_accounts
from routers.moving.steps import Options, Watcher

__all__ = ["add_arguments", "run", "show_moves"]


def add_arguments(move: CommandParser) -> None:
    move.add_argument("accounts", nargs="*", metavar="ACCOUNT", help="an id or a slug")
    move.add_argument("--to", metavar="SHARD", help="where they go")
    what = move.add_mutually_exclusive_group()
    what.add_argument("--plan", action="store_true", help="show rows, size, time; change nothing")
    what.add_argument("--resume", action="store_true", help="finish or undo what was killed")
    what.add_argument("--back", action="store_true", help="return to the old copy that is kept")
    what.add_argument("--release", action="store_true", help="delete the old copy that is kept")
    move.add_argument("--keep", action="store_true", help="keep the old copy, for --back")
    move.add_argument("--jobs", type=int, default=1, help="so many accounts at once")
    move.add_argument("--limit", type=float, metavar="MB", help="copy so many MB a second, in all")
    move.add_argument("--wait", type=float, default=60.0, help="seconds for open transactions")
    move.add_argument("--fence", type=int, default=100, help="milliseconds for each try")


def run(accounts: list[int], options: dict[str, Any], out: TextIO) -> bool:
    """Whether all was done. Raises RoutingError where nothing was begun."""
    if options["resume"]:
        found = {row.account_id: error or row for row, error in resume_moves(accounts or None)}
        return _end(found, options, out)
    if not accounts:
        raise MoveRefused("Name the accounts to move, or --resume for all that were left.")
    if options["release"]:
        return _end({account: _release(account) for account in accounts}, options, out)
    if options["back"]:
        plans = {account: Plan(account, "here", "its old copy") for account in accounts}
        return _end(_move(plans, None, options, out), options, out)
    if options["to"] is None:
        raise MoveRefused("Say where the accounts go: --to SHARD.")
    plans = {account: plan_move(account, options["to"]) for account in accounts}
    if options["plan"]:
        _show(out, plan_table(list(plans.values())), options, lambda: _as_dicts(plans))
        return True
    return _end(_move(plans, options["to"], options, out), options, out)


def show_moves(options: dict[str, Any], out: TextIO) -> None:
    """The newest moves of the journal."""
    rows = list(Move.objects.using(CATALOG).order_by("-id")[: options["limit"]])
    _show(out, move_table(rows), options, lambda: [_as_dict(row) for row in rows])


def _move(
    plans: dict[int, Plan], target: str | None, options: dict[str, Any], out: TextIO
) -> dict[int, Outcome]:
    pace = Pace(options["limit"] * 2**20 if options["limit"] else None)
    chosen = Options(options["keep"], True, options["wait"], pace, options["fence"])
    if options["json"]:
        return move_accounts(list(plans), target, chosen, lambda account: None, options["jobs"])
    with report(out) as shown:
        watch = _watch(shown, plans)
        return move_accounts(list(plans), target, chosen, watch, options["jobs"])


def _watch(shown: Report, plans: dict[int, Plan]) -> Callable[[int], Watcher]:
    return lambda account: shown.watch(plans[account])


def _release(account: int) -> Outcome:
    try:
        for row in journal.unfinished([account]):
            release(row)
            return row
        return f"No old copy of account {account} is kept."
    except (RoutingError, Error) as error:
        return str(error).strip()


def _end(found: dict[int, Outcome], options: dict[str, Any], out: TextIO) -> bool:
    rows = [row for row in found.values() if isinstance(row, Move)]
    errors = {account: why for account, why in found.items() if isinstance(why, str)}
    told = {"moves": [_as_dict(row) for row in rows], "errors": errors}
    _show(out, move_table(rows), options, lambda: told)
    if not options["json"]:
        for account, why in errors.items():
            out.write(f"account {account}: {why}\n")
    return not errors


def _show(
    out: TextIO, table: RenderableType, options: dict[str, Any], told: Callable[[], object]
) -> None:
    if options["json"]:
        out.write(f"{json.dumps(told())}\n")
        return
    console = Console(file=out, highlight=False)
    Console(file=out, highlight=False, width=None if console.is_terminal else 200).print(table)


def _as_dicts(plans: dict[int, Plan]) -> list[dict[str, object]]:
    return [plan.as_dict() for plan in plans.values()]


def _as_dict(row: Move) -> dict[str, object]:
    return {
        "account": row.account_id,
        **{name: getattr(row, name) for name in ("source", "target", "step", "outcome", "error")},
        **{name: getattr(row, name) for name in ("rows", "bytes", "copy_seconds", "pause_ms")},
        "began": row.began_at.isoformat(timespec="seconds"),
    }

"""Moving an account, and moving it back."""

from routers.models import Move
from routers.moving import journal
from routers.moving.errors import MoveRefused, MoveUndone, MoveUnsettled
from routers.moving.opening import both
from routers.moving.plan import plan_move
from routers.moving.settling import clean_up, settle
from routers.moving.steps import Mover, Nobody, Options, Watcher

__all__ = ["move_account", "move_back"]


def move_account(
    account_id: int, target: str, options: Options | None = None, watcher: Watcher | None = None
) -> Move:
    """Move one account; the journal's row. It is on the target and nowhere else, or as before.

    Raises MoveRefused where it was not begun, MoveUndone where it failed, MoveUnsettled where a
    server went away in the middle: `resume_moves` goes on.
    """
    plan = plan_move(account_id, target)
    row = journal.begin(account_id, plan.source, target, keep=(options or Options()).keep)
    journal.note(row, rows=plan.rows, bytes=plan.bytes)
    return _run(row, options or Options(), watcher or Nobody())


def move_back(
    account_id: int, options: Options | None = None, watcher: Watcher | None = None
) -> Move:
    """Return an account whose old copy is kept; the new journal's row. Raises as `move_account`."""
    kept = [row for row in journal.unfinished([account_id]) if row.outcome == Move.Outcome.KEPT]
    if not kept:
        raise MoveRefused(
            f"No old copy of account {account_id} is kept. Move it like any other: "
            f"`manage.py shards move {account_id} --to SHARD`."
        )
    row = journal.turn_back(kept[0])
    return _run(row, options or Options(), watcher or Nobody(), back=True)


def _run(row: Move, options: Options, watcher: Watcher, *, back: bool = False) -> Move:
    watcher.at("begun")
    try:
        with both(row.source, row.target, row.account_id) as (source, target):
            mover = Mover(row, source, target, options, watcher)
            mover.prepare()
            mover.return_() if back else mover.copy()
            mover.switch()
    except (Exception, KeyboardInterrupt) as error:
        _settle_after(row, error)
    journal.publish(row)
    watcher.at("published")
    if row.keep:
        journal.note(row, outcome=Move.Outcome.KEPT, step="published")
    elif options.clean:
        clean_up(row)
        watcher.at("cleaned")
    return row


def _settle_after(row: Move, error: BaseException) -> None:
    """Return where the account has moved all the same; else raise what came of it."""
    try:
        outcome = settle(row, str(error), clean=False)
    except Exception as second:
        raise MoveUnsettled(
            f"The move of {row} failed ({error}), and could not be settled ({second}). "
            f"`manage.py shards move {row.account_id} --resume`, as soon as both servers answer."
        ) from error
    if outcome == Move.Outcome.UNDONE:
        raise MoveUndone(f"The move of {row} is undone: {error}") from error

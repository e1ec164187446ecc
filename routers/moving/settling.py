"""Finishing or undoing a move whose mover is gone.

The source's word decides: *moved* means forward, anything else back. All of it can be done twice.
"""

import time
from contextlib import suppress

from django.db import Error
from django.utils import timezone

from routers.conf import settings
from routers.exceptions import RoutingError
from routers.models import Move
from routers.moving import journal
from routers.moving.catching_up import forget_noted
from routers.moving.copying import delete_rows
from routers.moving.errors import MoveRefused
from routers.moving.opening import both, open_side
from routers.moving.side import Side
from routers.moving.tables import tables_of
from routers.ownership.states import State

__all__ = ["clean_up", "release", "resume_moves", "settle", "speed_up", "take_over"]

MARGIN_SECONDS = 1.0
PATIENCE_SECONDS = 10.0  # for a server to notice that the mover is gone
Outcome = Move.Outcome


def resume_moves(
    accounts: list[int] | None = None, *, clean: bool = True
) -> list[tuple[Move, str | None]]:
    """Settle each unfinished move: (its row, the error that keeps it unfinished). Oldest first.

    A move that is under way elsewhere, and one whose old copy is kept, stay as they are.
    """
    found: list[tuple[Move, str | None]] = []
    for row in journal.unfinished(accounts):
        if row.outcome == Outcome.KEPT:
            continue
        try:
            settle(row, clean=clean)
            found.append((row, None))
        except (RoutingError, Error) as error:
            found.append((row, str(error).strip()))
    return found


def settle(row: Move, error: str = "", *, clean: bool = True) -> Outcome:
    """Forward or back; how it ended. Raises RoutingError or the driver's error: run it again.

    RUNNING: the account has moved, and `clean_up` is left.
    """
    with both(row.source, row.target, row.account_id, PATIENCE_SECONDS) as (source, target):
        for side in (source, target):
            side.past_triggers()
        with source.transaction():
            moved = source.in_force() == (State.MOVED, row.target)
        if not moved:
            _back(row, source, target)
            journal.close(row, Outcome.UNDONE, error)
            return Outcome.UNDONE
        take_over(row, target)
        speed_up(row, target)
    journal.note(row, step="owned", moved_at=row.moved_at or timezone.now(), error=error)
    journal.publish(row)
    if row.keep:
        journal.note(row, outcome=Outcome.KEPT, step="published")
        return Outcome.KEPT
    if not clean:
        return Outcome.RUNNING
    clean_up(row)
    return Outcome.DONE


def take_over(row: Move, target: Side) -> None:
    """The target owns the account from now on. Changes nothing twice."""
    with target.transaction():
        if target.state()[0] is State.INCOMING:
            target.take(noting=row.keep)


def speed_up(row: Move, target: Side) -> None:
    """Let writes at the target pass by the fast check again, where nothing is to be noted."""
    with target.transaction():
        if not row.keep and target.state()[0] is State.OWNER:
            target.own()


def release(row: Move) -> None:
    """Give up the way back of a move that was kept, and delete the old copy."""
    if row.outcome != Outcome.KEPT:
        raise MoveRefused(f"The move of {row} is {row.outcome}: no old copy is kept.")
    row.keep = False
    with both(row.source, row.target, row.account_id) as (_, target):
        with target.transaction():
            if target.state()[0] is State.CAPTURED:
                target.own()
        forget_noted(target)
    journal.note(row, outcome=Outcome.RUNNING, keep=False)
    clean_up(row)


def clean_up(row: Move) -> None:
    """Delete the old copy once no process reads it any more, and close the journal's row."""
    _wait_for_readers(row)
    with both(row.source, row.target, row.account_id) as (source, _):
        source.past_triggers()
        with source.transaction() as cursor:
            tables = tables_of(cursor)
            there = source.state()[0]
        if there is State.MOVED:
            delete_rows(source, tables, State.MOVED)
            forget_noted(source)
            with source.transaction():
                source.give_up(row.target)
    for alias in journal.earlier_homes(row):
        with suppress(RoutingError, Error):  # one that is away is shown by `shards check`
            _redirect(row, alias)
    row.step = "cleaned"
    journal.close(row, Outcome.DONE, row.error)


def _redirect(row: Move, alias: str) -> None:
    with open_side(alias, row.account_id, lock=False) as earlier, earlier.transaction():
        earlier.redirect(row.target)


def _back(row: Move, source: Side, target: Side) -> None:
    """The source first, for that is where people are."""
    with source.transaction():
        if source.state()[0] is State.CAPTURED:
            source.own()
    forget_noted(source)
    with target.transaction() as cursor:
        incoming = target.state()[0] is State.INCOMING
        tables = tables_of(cursor)
    if incoming:
        delete_rows(target, tables, State.INCOMING)
        with target.transaction():
            target.give_up(row.source)


def _wait_for_readers(row: Move) -> None:
    """A process may read the old copy for OWNER_SECONDS after the switch: all of it, or none."""
    moved_at = row.moved_at or timezone.now()
    passed = (timezone.now() - moved_at).total_seconds()
    left = settings().owner_seconds + MARGIN_SECONDS - max(passed, 0)
    if left > 0:
        time.sleep(left)

"""Several accounts at once: each by a thread with sessions of its own, all within one pace."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from django.db import Error, connections

from routers.exceptions import RoutingError
from routers.models import Move
from routers.moving.move import move_account, move_back
from routers.moving.settling import clean_up
from routers.moving.steps import Options, Watcher

__all__ = ["Outcome", "move_accounts"]

Outcome = Move | str  # the journal's row, or why not


def move_accounts(
    accounts: Sequence[int],
    target: str | None,
    options: Options,
    watch: Callable[[int], Watcher | None],
    jobs: int = 1,
) -> dict[int, Outcome]:
    """Move each to the target, or back where that is None. One that fails holds up no other.

    Old copies go after all have moved, so that their waiting is done once.
    """
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        one = partial(_one, target=target, options=replace(options, clean=False), watch=watch)
        found = dict(zip(accounts, pool.map(one, accounts), strict=True))
    for account, row in found.items():
        if isinstance(row, Move) and options.clean and row.outcome == Move.Outcome.RUNNING:
            found[account] = _told(partial(_clean, row))
    return found


def _one(
    account: int,
    *,
    target: str | None,
    options: Options,
    watch: Callable[[int], Watcher | None],
) -> Outcome:
    try:
        if target is None:
            return _told(lambda: move_back(account, options, watch(account)))
        return _told(lambda: move_account(account, target, options, watch(account)))
    finally:
        connections.close_all()  # this thread's


def _clean(row: Move) -> Move:
    clean_up(row)
    return row


def _told(action: Callable[[], Move]) -> Outcome:
    try:
        return action()
    except (RoutingError, Error) as error:
        return str(error).strip()

"""The journal of moves, in the catalog: what was begun, how far it came, what it took.

A row is written before a shard is touched. Later notes are for people and may be lost with the
catalog: what a move did is asked of the shards.
"""

import logging
import os
import socket
import time
from dataclasses import replace
from typing import Any

from django.db import Error, IntegrityError, connections, transaction
from django.utils import timezone

from routers.conf import CATALOG, settings
from routers.exceptions import RoutingError
from routers.models import Move
from routers.moving.errors import MoveRefused, MoveUnsettled
from routers.moving.signals import account_moved
from routers.shard_map import SLOTS, publish_map, refresh_map

__all__ = [
    "begin",
    "close",
    "earlier_homes",
    "note",
    "publish",
    "refuse_unfinished",
    "turn_back",
    "unfinished",
]

MAP_SECONDS, RETRY_SECONDS = 15.0, 0.05
logger = logging.getLogger(__name__)


def begin(account_id: int, source: str, target: str, *, keep: bool) -> Move:
    """A new move's row. Raises MoveRefused where another of the account's is not finished."""
    refuse_unfinished(account_id)
    return _create(account_id, source, target, keep=keep)


def refuse_unfinished(account_id: int) -> None:
    """Raise MoveRefused where another move of the account is not finished."""
    for row in unfinished([account_id]):
        cure = "--resume"
        if row.outcome == Move.Outcome.KEPT:
            cure = "--release` deletes the old copy that is kept, `… --back"
        raise MoveRefused(
            f"A move of {row} is not finished ({row.outcome}, since {row.began_at:%H:%M:%S} by "
            f"{row.process}). First `manage.py shards move {account_id} {cure}`."
        )


def turn_back(kept: Move) -> Move:
    """The row of the way back, in the place of the kept one's."""
    with transaction.atomic(using=CATALOG):
        close(kept, Move.Outcome.DONE, "went back")
        return _create(kept.account_id, kept.target, kept.source, keep=False)


def _create(account_id: int, source: str, target: str, *, keep: bool) -> Move:
    process = f"{socket.gethostname()}:{os.getpid()}"
    given = {"source": source, "target": target, "keep": keep, "process": process}
    try:
        return Move.objects.using(CATALOG).create(account_id=account_id, **given)
    except IntegrityError as error:
        raise MoveRefused(f"Somebody else has just begun to move account {account_id}.") from error


def note(row: Move, **values: Any) -> None:
    """Note how far it came. The catalog may be away."""
    for name, value in values.items():
        setattr(row, name, value)
    try:
        row.save(using=CATALOG, update_fields=list(values))
    except Error:
        connections[CATALOG].close()  # the next one opens another


def close(row: Move, outcome: Move.Outcome, error: str = "") -> None:
    """Close the row. Raises Django's error where the catalog is away: it stays unfinished."""
    row.outcome, row.error, row.finished_at = outcome, error, timezone.now()
    row.save(using=CATALOG)


def unfinished(accounts: list[int] | None = None) -> list[Move]:
    """Rows of moves that are under way, were killed, or whose old copy is kept; oldest first."""
    rows = Move.objects.using(CATALOG).filter(finished_at=None).order_by("id")
    return list(rows if accounts is None else rows.filter(account_id__in=accounts))


def earlier_homes(row: Move) -> set[str]:
    """The shards that the account has moved from or to before, but for this move's."""
    pairs = Move.objects.using(CATALOG).filter(account_id=row.account_id)
    found = {alias for pair in pairs.values_list("source", "target") for alias in pair}
    return found.intersection(settings().shards) - {row.source, row.target}


def publish(row: Move) -> None:
    """Let the map say where the account is now, and tell whoever listens. Changes nothing twice.

    Raises MoveUnsettled where the catalog stays away: the shards send people to the new one.
    """
    until = time.monotonic() + MAP_SECONDS
    while not _published(row):
        if time.monotonic() > until:
            raise MoveUnsettled(
                f"Account {row.account_id} is on {row.target}, and the map does not say so yet: "
                f"the catalog is away. `manage.py shards move {row.account_id} --resume` ends it."
            )
        time.sleep(RETRY_SECONDS)
    about = {"account_id": row.account_id, "source": row.source, "target": row.target}
    for receiver, answer in account_moved.send_robust(sender=Move, **about):
        if isinstance(answer, Exception):
            logger.error("%s failed for account %d: %s", receiver, row.account_id, answer)


def _published(row: Move) -> bool:
    """False where the catalog does not answer, or somebody else was faster: look again."""
    try:
        newest = refresh_map()
        if newest.shard_of(row.account_id) != row.target:
            pins = {**newest.pins, row.account_id: row.target}
            if newest.slots[row.account_id % SLOTS] == row.target:
                del pins[row.account_id]
            publish_map(replace(newest, pins=pins), reason=f"account {row.account_id} moved")
    except (RoutingError, Error):
        connections[CATALOG].close()
        return False
    return True

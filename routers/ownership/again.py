"""Running a request or a task again after a shard has refused it, by a newer map.

An account that is moving now is waited for, with small random pauses; one that has moved is looked
for where the refusal says. Both within SHARDING["MOVING_SECONDS"], counted from the first refusal.
"""

import logging
import random
import time
from contextlib import suppress
from dataclasses import replace

from django.db import Error

from routers.conf import settings
from routers.exceptions import AccountElsewhere, AccountMoved, AccountMoving, RoutingError
from routers.shard_map import current_map, refresh_map, shard_of
from routers.shard_map.current import hold_correction

__all__ = ["Patience", "learn"]

PAUSE_SECONDS = 0.01  # about what a fence takes; doubled with each try, to eight times
logger = logging.getLogger(__name__)


class Patience:
    """How one request or task goes on after each of its refusals."""

    def __init__(self) -> None:
        self._tries = 0
        self._until: float | None = None

    def pause(self, error: AccountElsewhere) -> float | None:
        """Seconds to wait before the next try; None where the time is over. Learns of a new map."""
        now = time.monotonic()
        self._until = self._until or now + settings().moving_seconds
        self._tries += 1
        if not isinstance(error, AccountMoving):
            learn(error)
            if isinstance(error, AccountMoved) and self._tries == 1:
                return 0.0
        seconds = PAUSE_SECONDS * 2 ** min(self._tries, 3) * random.uniform(0.5, 1)  # noqa: S311
        return seconds if now + seconds < self._until else None


def learn(error: AccountElsewhere) -> None:
    """Read the newest map; where it does not say yet what the refusal says, hold that on top of it.

    The shard's own word is the truth, and the map may come milliseconds later, or, where the mover
    was killed, when it is resumed.
    """
    with suppress(RoutingError, Error):  # the catalog may be away
        refresh_map()
    if not isinstance(error, AccountMoved) or error.account_id is None:
        return
    if error.new_shard in settings().shards and shard_of(error.account_id) == error.shard:
        logger.warning("The map does not say yet what %s says: %s", error.shard, error)
        held = current_map()
        hold_correction(replace(held, pins={**held.pins, error.account_id: error.new_shard}))

"""The largest and the busiest accounts: counted in the background, for it may take a minute."""

import sys
import threading
from dataclasses import asdict
from typing import Any

from django.core.cache import cache
from django.db import connections
from django.utils import timezone

from routers.inspection.largest import largest_accounts

__all__ = ["HOURS", "busiest"]

HOURS = 1.0
SHOWN = 8
FRESH_SECONDS = 120
GUARD_SECONDS = 90  # a process that died while counting keeps others from it so long
KEPT_SECONDS = 3600
ANSWER, GUARD, FRESH = "console:busiest", "console:busiest:counting", "console:busiest:fresh"

_own: dict[str, Any] = {}


def busiest() -> dict[str, Any] | None:
    """The last count; None before the first. Starts the next where that is FRESH_SECONDS old.

    Without Redis nobody counts: processes could not tell that another does.

    `at`: when; `largest`, `busiest`: accounts as AccountLoad's dictionaries; `away`: shard → error.
    """
    if not cache.get(FRESH) and cache.add(GUARD, True, GUARD_SECONDS):
        begin()
    found: dict[str, Any] | None = cache.get(ANSWER) or _own.get(ANSWER)
    return found


def begin() -> None:
    """Count, in a thread of its own: one in the whole cluster as long as Redis is there."""
    threading.Thread(target=_count_and_keep, name="console-busiest", daemon=True).start()


def _count_and_keep() -> None:
    try:
        _own[ANSWER] = found = count()
        cache.set(ANSWER, found, KEPT_SECONDS)
        cache.set(FRESH, True, FRESH_SECONDS)
    finally:
        cache.delete(GUARD)
        connections.close_all()


def count() -> dict[str, Any]:
    """The answer of `busiest`, now."""
    loads, away = largest_accounts(limit=sys.maxsize, by="rows", hours=HOURS)
    busy = sorted(loads, key=lambda load: (-load.new_rows, load.account))[:SHOWN]
    return {
        "at": timezone.now(),
        "largest": [asdict(load) for load in loads[:SHOWN]],
        "busiest": [asdict(load) for load in busy if load.new_rows],
        "away": away,
    }

"""How many assessments there have been to date, over all shards.

Counted by a task every five minutes at most; what has been told since is added, so that the figure
goes up with every start. A session that started while the shards were being counted may be in both
for that long.
"""

from typing import Any

from assessments.models import TestSession
from front.starts import published
from prepared import Prepared
from routers import fan_out

__all__ = ["COUNTER", "to_date"]

FRESH_SECONDS = 300.0
SHARD_SECONDS = 20.0


def count(key: str) -> dict[str, Any]:
    """`sessions` that have started, without those on `missing` shards; `since`: of `published`."""
    since = published()
    started = fan_out(
        TestSession.objects.exclude(status=TestSession.Status.INVITED),
        timeout=SHARD_SECONDS,
        missing="skip",
    )
    return {"sessions": started.count(), "missing": sorted(started.missing), "since": since}


COUNTER = Prepared("front.counter", count, fresh_seconds=FRESH_SECONDS)


def to_date(count_now: int) -> tuple[int | None, list[str]]:
    """Assessments, None while they are being counted; and the shards they are counted without."""
    answer = COUNTER.get()
    if not answer.is_there:
        return None, []
    counted = answer.value
    return counted["sessions"] + max(count_now - counted["since"], 0), counted["missing"]

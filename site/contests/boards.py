"""A contest's leaderboard: counted over all shards by a task, the same page for all its viewers."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.db.models import Count, F, Q
from django.utils import timezone

from assessments.models import TestSession
from contests.models import Contest
from contests.selectors import public_name, sessions_of
from prepared import Prepared
from routers import fan_out

__all__ = ["BOARD", "EVERY_SECONDS", "running"]

EVERY_SECONDS = 10.0  # beat counts those that run anew
FRESH_SECONDS = 20.0
SHARD_SECONDS = 5.0  # a shard that takes longer is left out, and named
SHOWN = 100
JUDGED_WITHIN = timedelta(minutes=10)  # after the end, results still come in
Status = TestSession.Status


def make_board(slug: str) -> dict[str, Any]:
    """What board.html shows. Raises Contest.DoesNotExist. A shard that is away is in `missing`."""
    contest = Contest.objects.get(slug=slug)
    sessions = sessions_of(contest)
    judged = sessions.filter(status=Status.CLOSED, finished_at__isnull=False)
    best = fan_out(_in_order(judged)[: 2 * SHOWN], timeout=SHARD_SECONDS, missing="skip")
    rows = _ranked(best)
    counted = fan_out(sessions, timeout=SHARD_SECONDS, missing="skip")
    totals = counted.aggregate(
        judged=Count("pk", filter=Q(status=Status.CLOSED)),
        at_work=Count("pk", filter=Q(status__in=[Status.STARTED, Status.FINISHED])),
    )
    return {
        "slug": contest.slug,
        "name": contest.name,
        "about": contest.about,
        "starts_at": contest.starts_at,
        "ends_at": contest.ends_at,
        "minutes": contest.minutes,
        "state": contest.state,
        "rows": rows,
        **totals,
        "missing": sorted({*best.missing, *counted.missing}),
        "at": timezone.now(),
    }


def running() -> list[str]:
    """The slugs of contests whose boards may change by themselves."""
    now = timezone.now()
    going = Contest.objects.filter(starts_at__lte=now, ends_at__gt=now - JUDGED_WITHIN)
    return list(going.values_list("slug", flat=True))


def _in_order(judged: Any) -> Any:
    """More points first, then less time."""
    timed = judged.annotate(taken=F("finished_at") - F("started_at"))
    return timed.order_by("-score", "taken").values(
        "score", "maximum", "taken", "candidate__name", "candidate__email", "country__name"
    )


def _ranked(best: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first SHOWN; of a person whom several accounts have invited, the best alone."""
    rows: list[dict[str, Any]] = []
    people: set[str] = set()
    for row in best:
        email = row.pop("candidate__email").lower()
        if email in people:
            continue
        people.add(email)
        rows.append(_shown(row, rows))
        if len(rows) == SHOWN:
            break
    return rows


def _shown(row: dict[str, Any], above: list[dict[str, Any]]) -> dict[str, Any]:
    """Equals share a rank."""
    is_equal = above and (above[-1]["score"], above[-1]["taken"]) == (row["score"], row["taken"])
    return {
        "rank": above[-1]["rank"] if is_equal else len(above) + 1,
        "name": public_name(row["candidate__name"]),
        "country": row["country__name"],
        "score": row["score"],
        "maximum": row["maximum"],
        "taken": row["taken"],
        "percent": round(100 * row["score"] / row["maximum"]) if row["maximum"] else 0,
    }


BOARD = Prepared("contests.board", make_board, fresh_seconds=FRESH_SECONDS)
"""By the contest's slug. Ask only for one that is there."""

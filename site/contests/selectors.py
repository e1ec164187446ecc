"""Reads on contests. Those of the catalog need no account; `contest_of_test` needs one."""

from datetime import timedelta

from django.db.models import F, QuerySet
from django.utils import timezone

from assessments.models import Test, TestSession
from contests.models import Contest, ContestTest

__all__ = ["contest_of_test", "joined", "open_contests", "public_name", "sessions_of", "shown"]

SHOWN_AFTER_END = timedelta(days=90)
SHOWN = 50


def shown() -> list[Contest]:
    """Those of the public list: under way and ahead by their start, then the newest ended ones."""
    recent = Contest.objects.filter(ends_at__gt=timezone.now() - SHOWN_AFTER_END)
    found = list(recent.order_by("-ends_at")[:SHOWN])
    order = {"running": 0, "ahead": 1, "over": 2}
    found.sort(key=lambda contest: contest.starts_at)
    return sorted(found, key=lambda contest: order[contest.state])


def open_contests() -> list[Contest]:
    """Those that have not ended, with their tasks; the first to begin comes first."""
    ahead = Contest.objects.filter(ends_at__gt=timezone.now()).order_by("starts_at")
    return list(ahead.prefetch_related("contest_tasks__task")[:SHOWN])


def joined() -> dict[int, int]:
    """Contest → the account's test for it."""
    return dict(ContestTest.objects.values_list("contest_id", "test_id"))


def contest_of_test(test_id: int) -> Contest | None:
    """The contest that a test of the account belongs to: one query, two for a contest's test."""
    place = ContestTest.objects.filter(test_id=test_id).values_list("contest_id", flat=True).first()
    return Contest.objects.filter(pk=place).first() if place is not None else None


def sessions_of(contest: Contest) -> QuerySet[TestSession]:
    """Everybody's sessions in a contest, to be fanned out.

    The accounts are compared too, so that each shard finds the sessions by their index.
    """
    sessions = TestSession.objects.filter(test__contest__contest_id=contest.pk)
    return sessions.filter(account_id=F("test__contest__account_id"))


def public_name(name: str) -> str:
    """What a public page shows of a candidate's name: "Ada M." """
    first, *rest = name.split() or ["?"]
    return f"{first} {rest[-1][0]}." if rest else first


def test_name(contest: Contest) -> str:
    """The contest's name, or one that no other test of the account has."""
    taken = Test.objects.filter(name=contest.name).exists()
    return f"{contest.name} (contest {contest.pk})" if taken else contest.name

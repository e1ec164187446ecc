"""A contest over several shards, filled."""

from datetime import timedelta
from typing import Any

from django.utils import timezone

from accounts.models import Account
from assessments.models import Candidate, TestSession
from contests.models import Contest
from contests.services import contest_create, contest_join
from routers import SLOTS, account_context, shard_of
from tasks.models import Task

__all__ = ["account_on_each_shard", "closed", "contest_of"]


def contest_of(
    slug: str = "spring", *, begins: float = -1, ends: float = 1, **given: Any
) -> Contest:
    """From and until so many hours from now, of two tasks."""
    now = timezone.now()
    return contest_create(
        slug=slug,
        name=given.pop("name", "Spring Open"),
        starts_at=now + timedelta(hours=begins),
        ends_at=now + timedelta(hours=ends),
        tasks=list(Task.objects.order_by("pk")[:2]),
        **given,
    )


def account_on_each_shard() -> list[Account]:
    """As many accounts as there are shards, in the order of the shards' names."""
    newest = Account.objects.order_by("-pk").first()
    keys: dict[str, int] = {}
    for pk in range((newest.pk if newest else 0) + 1, (newest.pk if newest else 0) + SLOTS):
        keys.setdefault(shard_of(pk), pk)
    return [
        Account.objects.create(pk=pk, slug=f"company-{shard}", name=f"Company {shard}")
        for shard, pk in sorted(keys.items())
    ]


def closed(
    account: Account,
    contest: Contest,
    name: str,
    score: int,
    *,
    minutes: float = 40,
    email: str = "",
) -> TestSession:
    """A judged session of the contest."""
    finished = timezone.now()
    with account_context(account.pk):
        test = contest_join(contest)
        email = email or f"{name.lower().replace(' ', '.')}@{account.slug}.test"
        candidate, _ = Candidate.objects.get_or_create(email=email, defaults={"name": name})
        return TestSession.objects.create(
            test=test,
            candidate=candidate,
            status=TestSession.Status.CLOSED,
            started_at=finished - timedelta(minutes=minutes),
            finished_at=finished,
            judged_at=finished,
            score=score,
            maximum=200,
            country_id="PL",
        )

"""A contest for the demo: a week long, with candidates of several accounts on its board."""

import random
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.utils import timezone

from accounts.models import Account
from assessments.models import Candidate, TestSession
from contests.models import Contest
from contests.services import contest_create, contest_join
from demo.services import COUNTRIES, FIRST_NAMES, LAST_NAMES
from routers import account_atomic, account_context
from tasks.models import Task

__all__ = ["SLUG", "seed_contest"]

SLUG = "open-week"
ACCOUNTS, EACH = 8, 20
SECONDS = (1200, 5400)  # that a sitting takes


def seed_contest(slugs: Iterable[str], seed: int = 1) -> bool:
    """Make the contest, with results in the first of these accounts. False where it is there."""
    if Contest.objects.filter(slug=SLUG).exists():
        return False
    now, draw = timezone.now(), random.Random(seed)  # noqa: S311 - demo data
    contest = contest_create(
        slug=SLUG,
        name="Open Week",
        about="Three tasks for everybody, whichever company has invited you.",
        starts_at=now - timedelta(days=1),
        ends_at=now + timedelta(days=6),
        tasks=list(Task.objects.order_by("slug")[:3]),
    )
    chosen = Account.objects.filter(slug__in=list(slugs)[:ACCOUNTS]).order_by("pk")
    for account in chosen:
        with account_context(account.pk), account_atomic():
            _results(contest, draw, now)
    return True


def _results(contest: Contest, draw: random.Random, now: datetime) -> None:
    test = contest_join(contest)
    names = [f"{draw.choice(FIRST_NAMES)} {draw.choice(LAST_NAMES)}" for _ in range(EACH)]
    Candidate.objects.bulk_create(
        Candidate(email=f"contest{n}.{test.pk}@example.com", name=name)
        for n, name in enumerate(names)
    )
    people = Candidate.objects.filter(email__endswith=f".{test.pk}@example.com")
    TestSession.objects.bulk_create(
        _judged(TestSession(test=test, candidate=person, maximum=300), draw, now)
        for person in people.order_by("email")
    )


def _judged(session: TestSession, draw: random.Random, now: datetime) -> TestSession:
    session.finished_at = session.judged_at = now - timedelta(minutes=draw.randint(5, 1200))
    session.started_at = session.finished_at - timedelta(seconds=draw.randint(*SECONDS))
    session.created_at = session.started_at - timedelta(hours=2)
    session.score = 10 * draw.randint(0, 30)
    session.country_id = draw.choice(COUNTRIES)
    session.status = TestSession.Status.CLOSED
    return session

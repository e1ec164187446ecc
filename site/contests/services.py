"""Writes on contests."""

from collections.abc import Iterable
from datetime import datetime

from django.db import IntegrityError, transaction

from assessments.models import Test
from assessments.services import test_create
from contests.models import Contest, ContestTask, ContestTest
from contests.selectors import test_name
from routers import account_atomic
from routers.conf import CATALOG
from tasks.models import Task

__all__ = ["contest_create", "contest_join"]


@transaction.atomic(using=CATALOG)
def contest_create(
    *,
    slug: str,
    name: str,
    starts_at: datetime,
    ends_at: datetime,
    tasks: Iterable[Task],
    minutes: int = 90,
    about: str = "",
) -> Contest:
    """A contest of these tasks, in this order."""
    contest = Contest.objects.create(
        slug=slug, name=name, about=about, starts_at=starts_at, ends_at=ends_at, minutes=minutes
    )
    ContestTask.objects.bulk_create(
        ContestTask(contest=contest, task=task, position=position)
        for position, task in enumerate(tasks, start=1)
    )
    return contest


def contest_join(contest: Contest) -> Test:
    """The test to which the account in force invites people for the contest. Twice is once."""
    tasks = [chosen.task for chosen in contest.contest_tasks.select_related("task")]
    try:
        with account_atomic():
            place = ContestTest.objects.select_related("test").filter(contest_id=contest.pk).first()
            if place is not None:
                return place.test
            test = test_create(name=test_name(contest), minutes=contest.minutes, tasks=tasks)
            ContestTest.objects.create(contest_id=contest.pk, test=test)
            return test
    except IntegrityError:  # somebody of the account was faster
        return ContestTest.objects.select_related("test").get(contest_id=contest.pk).test

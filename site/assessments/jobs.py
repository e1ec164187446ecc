"""Celery tasks. Each takes the account's id, and sets it."""

import logging
from datetime import datetime, timedelta

from celery import shared_task
from django.db import Error
from django.utils import timezone

from assessments.judging import judge_session
from assessments.models import TestSession
from assessments.services import GRACE, session_finish
from routers import account_context, all_accounts
from routers.conf import settings

__all__ = ["judge", "sweep"]

logger = logging.getLogger(__name__)
JUDGED_WITHIN = timedelta(seconds=10)  # a session finished longer ago has lost its job
SWEEP_LIMIT = 500  # sessions a shard in one sweep; the next sweep takes the rest


@shared_task
def judge(account_id: int, session_id: int) -> None:
    """Judge one finished session."""
    with account_context(account_id):
        judge_session(session_id)


@shared_task
def sweep() -> None:
    """Close sessions whose time is over, and send again the jobs that were lost.

    A job is lost when the broker was away at the moment of asking, or lost its memory.
    """
    now = timezone.now()
    for shard in sorted(settings().shards):
        try:
            _sweep_shard(shard, now)
        except Error as error:
            logger.warning("The sweep passes over %s: %s", shard, error)


def _sweep_shard(shard: str, now: datetime) -> None:
    with all_accounts(shard):
        under_way = TestSession.objects.filter(status=TestSession.Status.STARTED)
        oldest = under_way.select_related("test").order_by("started_at")[:SWEEP_LIMIT]
        overdue = [s for s in oldest if s.deadline and s.deadline + GRACE < now]
        finished = TestSession.objects.filter(status=TestSession.Status.FINISHED)
        lost = list(finished.filter(finished_at__lt=now - JUDGED_WITHIN)[:SWEEP_LIMIT])
    for session in overdue:
        with account_context(session.account_id):
            session_finish(session)
    for session in lost:
        judge.delay(session.account_id, session.pk)

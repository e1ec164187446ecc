"""Celery tasks. Each runs for the account that asked for it; the sweep, for none."""

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
Status = TestSession.Status
ASK_AGAIN_AFTER = timedelta(minutes=1)  # a session still unjudged by then has lost its job
SWEEP_LIMIT = 500  # sessions a shard in one sweep; the next sweep takes the rest


@shared_task
def judge(session_id: int) -> None:
    """Judge one finished session."""
    judge_session(session_id)


@shared_task
def sweep() -> None:
    """Finish sessions whose time is over, and send again the judge jobs that were lost.

    A job is lost when the broker was away at the moment of asking, or lost its memory.
    """
    now = timezone.now()
    for shard in sorted(settings().shards):
        try:
            _finish_overdue(shard, now)
            _ask_again(shard, now)
        except Error as error:
            logger.warning("The sweep passes over %s: %s", shard, error)


def _finish_overdue(shard: str, now: datetime) -> None:
    with all_accounts(shard):
        running = TestSession.objects.filter(status=Status.STARTED, deadline__lt=now - GRACE)
        overdue = list(running.order_by("deadline")[:SWEEP_LIMIT])
    for session in overdue:
        try:
            with account_context(session.account_id):
                session_finish(session)
        except TestSession.DoesNotExist:
            logger.info("%s was deleted meanwhile", session)


def _ask_again(shard: str, now: datetime) -> None:
    """The longest waiting first, and each only once a minute: none can keep the others waiting."""
    with all_accounts(shard):
        lost = TestSession.objects.filter(
            status=Status.FINISHED, judge_asked_at__lt=now - ASK_AGAIN_AFTER
        )
        waiting = list(lost.order_by("judge_asked_at")[:SWEEP_LIMIT])
    for session in waiting:  # each in its account: a write for all would empty the shard's cache
        with account_context(session.account_id):
            TestSession.objects.filter(pk=session.pk).update(judge_asked_at=now)
    for session in waiting:
        with account_context(session.account_id):
            judge.delay(session.pk)

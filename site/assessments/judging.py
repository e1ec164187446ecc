"""Judging a finished session: every answer against its task's checker."""

import logging

from django.utils import timezone

from assessments.models import Answer, TestSession
from assessments.selectors import maximum_points
from routers import account_atomic
from tasks import library

__all__ = ["judge_session"]

logger = logging.getLogger(__name__)
FINISHED = TestSession.Status.FINISHED


def judge_session(session_id: int) -> bool:
    """Judge and close a finished session; False where that is not its state (so: twice is once).

    The work is done outside any transaction, as a finished session's answers do not change; only
    the result is stored under a lock. Inputs are made again from the session's code, never stored.
    """
    session = TestSession.objects.no_cache().filter(pk=session_id, status=FINISHED).first()
    if session is None:
        return False
    answers = list(Answer.objects.filter(session=session).select_related("task"))
    for answer in answers:
        _judge(answer, seed=session.code)
    return _store(session, answers)


def _judge(answer: Answer, *, seed: str) -> None:
    try:
        problem = library.get(answer.task.slug)
    except library.UnknownTask as error:
        # A task that has left the library must not leave its sessions unjudged for ever.
        logger.error("%s: %s", answer, error)
        answer.correctness, answer.performance, answer.score = 0, None, 0
        return
    verdict = library.judge(problem, seed, answer.output)
    answer.correctness = verdict.correctness
    answer.performance = verdict.performance
    answer.score = verdict.score


def _store(session: TestSession, answers: list[Answer]) -> bool:
    with account_atomic():
        locked = TestSession.objects.select_for_update().filter(pk=session.pk, status=FINISHED)
        session_now = locked.first()
        if session_now is None:
            return False
        Answer.objects.bulk_update(answers, ["correctness", "performance", "score"])
        session_now.maximum = maximum_points(session_now)
        session_now.score = sum(answer.score or 0 for answer in answers)
        session_now.status = TestSession.Status.CLOSED
        session_now.judged_at = timezone.now()
        session_now.save(update_fields=["maximum", "score", "status", "judged_at"])
    return True

"""Judging a finished session: every answer against its task's checker."""

from django.utils import timezone

from assessments.models import Answer, TestSession, TestTask
from routers import account_atomic
from tasks import library

__all__ = ["judge_session"]


def judge_session(session_id: int) -> bool:
    """Judge and close a finished session; False where that is not its state (so: twice is once).

    The session's row is locked meanwhile; inputs are made again from its code, never stored.
    """
    with account_atomic():
        session = (
            TestSession.objects.select_for_update()
            .filter(pk=session_id, status=TestSession.Status.FINISHED)
            .first()
        )
        if session is None:
            return False
        answers = list(Answer.objects.filter(session=session).select_related("task"))
        for answer in answers:
            _judge(answer, seed=session.code)
        Answer.objects.bulk_update(answers, ["correctness", "performance", "score"])
        chosen = TestTask.objects.filter(test_id=session.test_id).select_related("task")
        session.maximum = sum(row.task.points for row in chosen)
        session.score = sum(answer.score or 0 for answer in answers)
        session.status = TestSession.Status.CLOSED
        session.judged_at = timezone.now()
        session.save(update_fields=["maximum", "score", "status", "judged_at"])
    return True


def _judge(answer: Answer, *, seed: str) -> None:
    verdict = library.judge(library.get(answer.task.slug), seed, answer.output)
    answer.correctness = verdict.correctness
    answer.performance = verdict.performance
    answer.score = verdict.score

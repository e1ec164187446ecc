"""Writes on an account's tests, candidates and sessions. All need an account in force."""

import logging
from collections.abc import Iterable
from datetime import timedelta

from django.utils import timezone
from kombu.exceptions import OperationalError as BrokerAway

from assessments.models import Answer, Candidate, Test, TestSession, TestTask
from routers import account_atomic
from routers.transactions import account_on_commit
from tasks.library import MAX_OUTPUT_BYTES, SubmissionTooLarge
from tasks.models import Country, Task

__all__ = [
    "SessionClosed",
    "answer_submit",
    "candidate_get_or_create",
    "session_finish",
    "session_invite",
    "session_start",
    "test_create",
]

logger = logging.getLogger(__name__)
Status = TestSession.Status
GRACE = timedelta(seconds=30)  # a submission under way when the time runs out still counts


class SessionClosed(Exception):
    """The session cannot be started or worked on (any more); the message says why."""


def test_create(*, name: str, minutes: int, tasks: Iterable[Task]) -> Test:
    """A new test of these tasks, in this order."""
    with account_atomic():
        test = Test.objects.create(name=name, minutes=minutes)
        TestTask.objects.bulk_create(
            TestTask(test=test, task=task, position=position)
            for position, task in enumerate(tasks, start=1)
        )
    return test


def candidate_get_or_create(*, email: str, name: str) -> Candidate:
    """The candidate of that address, made if new; a new name replaces the old one."""
    candidate, is_new = Candidate.objects.get_or_create(
        email=email.strip().lower(), defaults={"name": name}
    )
    if not is_new and name and candidate.name != name:
        candidate.name = name
        candidate.save(update_fields=["name"])
    return candidate


def session_invite(*, test: Test, email: str, name: str) -> TestSession:
    """Invite one person to a test: an invitation that is still open is handed out again."""
    with account_atomic():
        candidate = candidate_get_or_create(email=email, name=name)
        session, _ = TestSession.objects.get_or_create(
            test=test, candidate=candidate, status=Status.INVITED
        )
    return session


def session_start(session: TestSession, *, country: Country | None = None) -> TestSession:
    """The candidate accepts: the clock runs. Raises SessionClosed for one already finished."""
    with account_atomic():
        session = _locked(session)
        if session.status == Status.INVITED:
            session.status = Status.STARTED
            session.started_at = timezone.now()
            session.country = country
            session.maximum = _maximum(session)
            session.save(update_fields=["status", "started_at", "country", "maximum"])
        elif session.status != Status.STARTED:
            raise SessionClosed("This session has been finished. It cannot be started again.")
    return session


def answer_submit(session: TestSession, *, task: Task, output: str) -> Answer:
    """Store the candidate's output for a task, in place of an earlier one.

    Raises SessionClosed, SubmissionTooLarge, or Task.DoesNotExist for a task of another test.
    """
    if len(output.encode()) > MAX_OUTPUT_BYTES:
        raise SubmissionTooLarge(f"An output may have {MAX_OUTPUT_BYTES:,} bytes at most.")
    with account_atomic():
        session = _locked(session)
        _require_open(session)
        if not TestTask.objects.filter(test_id=session.test_id, task=task).exists():
            raise Task.DoesNotExist(f"{task} is no task of this test.")
        answer, _ = Answer.objects.update_or_create(
            session=session,
            task=task,
            # PostgreSQL's text holds no NUL; no right output does either.
            defaults={"output": output.replace("\0", ""), "submitted_at": timezone.now()},
        )
    return answer


def session_finish(session: TestSession) -> TestSession:
    """The candidate is done: judging is asked for once this is committed. Twice does nothing."""
    with account_atomic():
        session = _locked(session)
        if session.status == Status.INVITED:
            raise SessionClosed("This session has not been started.")
        if session.status == Status.STARTED:
            session.status = Status.FINISHED
            session.finished_at = timezone.now()
            session.save(update_fields=["status", "finished_at"])
            account_on_commit(lambda: _ask_for_judging(session.account_id, session.pk))
    return session


def _locked(session: TestSession) -> TestSession:
    """The session as it is now, locked against a second request for the rest of the transaction."""
    locked = TestSession.objects.select_for_update(of=("self",)).select_related("test", "candidate")
    return locked.get(pk=session.pk)


def _require_open(session: TestSession) -> None:
    if session.status != Status.STARTED:
        raise SessionClosed("This session is not open: nothing can be submitted.")
    if session.deadline and timezone.now() > session.deadline + GRACE:
        raise SessionClosed("The time of this session is over.")


def _maximum(session: TestSession) -> int:
    chosen = TestTask.objects.filter(test_id=session.test_id).select_related("task")
    return sum(row.task.points for row in chosen)


def _ask_for_judging(account_id: int, session_id: int) -> None:
    """Send the job. With the broker away the periodic sweep asks again, so nothing is lost."""
    from assessments.jobs import judge  # jobs call services, so this cannot stand above

    try:
        judge.delay(account_id, session_id)
    except BrokerAway as error:
        logger.warning("The broker is away (%s): the sweep asks for %s again.", error, session_id)

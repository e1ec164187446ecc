"""Writes on an account's tests, candidates and sessions. All need an account in force."""

import logging
from collections.abc import Iterable
from datetime import timedelta

from django.utils import timezone
from kombu.exceptions import OperationalError as BrokerAway

from assessments.models import Answer, Candidate, Test, TestSession, TestTask
from assessments.selectors import credits_used, maximum_points
from assessments.signals import session_started, session_starting
from routers import account_atomic
from routers.transactions import account_on_commit
from tasks.library import MAX_OUTPUT_BYTES, SubmissionTooLarge
from tasks.models import Country, Task

__all__ = [
    "SessionClosed",
    "answer_submit",
    "candidate_get_or_create",
    "session_finish",
    "session_finish_if_over",
    "session_invite",
    "session_start",
    "test_create",
]

logger = logging.getLogger(__name__)
Status = TestSession.Status
NO_CREDIT = "The account that invited you has no credit left. Please tell whoever invited you."
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
        # Also what keeps an import of the same person waiting: see imports.py.
        Candidate.objects.select_for_update().get(pk=candidate.pk)
        session, _ = TestSession.objects.get_or_create(
            test=test, candidate=candidate, status=Status.INVITED
        )
    return session


def session_start(
    session: TestSession, *, country: Country | None = None, credits: int | None = None
) -> TestSession:
    """The candidate accepts: the clock runs, and one of the account's `credits` (if given) is used.

    Raises SessionClosed for a session already finished, or where no credit is left. Two sessions
    that start at the same instant may share the last credit: nobody waits for a lock on it.
    """
    with account_atomic():
        session = _locked(session)
        if session.status == Status.INVITED:
            if credits is not None and credits_used() >= credits:
                raise SessionClosed(NO_CREDIT)
            session.status = Status.STARTED
            session.started_at = timezone.now()
            session.deadline = session.started_at + timedelta(minutes=session.test.minutes)
            session.country = country
            session.maximum = maximum_points(session)
            session_starting.send(TestSession, session=session)
            changed = ["status", "started_at", "deadline", "country", "maximum"]
            session.save(update_fields=changed)
            account_on_commit(lambda: session_started.send_robust(TestSession, session=session))
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
        chosen = TestTask.objects.no_cache().filter(test_id=session.test_id, task=task)
        if not chosen.exists():
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
            session.finished_at = session.judge_asked_at = timezone.now()
            session.save(update_fields=["status", "finished_at", "judge_asked_at"])
            account_on_commit(lambda: _ask_for_judging(session.pk))
    return session


def session_finish_if_over(session: TestSession) -> TestSession:
    """End a session whose time is over, if nobody has: for the pages that show it."""
    return session_finish(session) if is_over(session) else session


def is_over(session: TestSession) -> bool:
    """Whether a started session's time, and the grace for what was under way, has run out."""
    deadline = session.deadline if session.status == Status.STARTED else None
    return deadline is not None and timezone.now() > deadline + GRACE


def _locked(session: TestSession) -> TestSession:
    """The session as it is now, locked against a second request for the rest of the transaction."""
    locked = TestSession.objects.select_for_update(of=("self",)).select_related("test", "candidate")
    return locked.get(pk=session.pk)


def _require_open(session: TestSession) -> None:
    if session.status != Status.STARTED:
        raise SessionClosed("This session is not open: nothing can be submitted.")
    if is_over(session):
        raise SessionClosed("The time of this session is over.")


def _ask_for_judging(session_id: int) -> None:
    """Send the job. With the broker away the periodic sweep asks again, so nothing is lost."""
    from assessments.jobs import judge  # jobs call services, so this cannot stand above

    try:
        judge.delay(session_id)
    except BrokerAway as error:
        logger.warning("The broker is away (%s): the sweep asks for %s again.", error, session_id)

from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError
from django.utils import timezone
from kombu.exceptions import OperationalError

from assessments import jobs
from assessments.judging import judge_session
from assessments.models import Answer, Candidate, Test, TestSession
from assessments.selectors import task_rows
from assessments.services import (
    SessionClosed,
    answer_submit,
    candidate_get_or_create,
    session_finish,
    session_invite,
    session_start,
)
from routers import CrossAccount, account_atomic, account_context, shard_of
from tasks import library
from tasks.models import Country, Task

Status = TestSession.Status


@pytest.fixture
def session(screening: Test) -> TestSession:
    return session_invite(test=screening, email="Ada@Example.org ", name="Ada")


@pytest.fixture
def started(session: TestSession) -> TestSession:
    return session_start(session, country=Country.objects.get(code="PL"))


def solve(session: TestSession, tasks: int = 3) -> None:
    for row in task_rows(session)[:tasks]:
        problem = library.get(row.task.slug)
        output = library.solution_file(problem, session.code)
        answer_submit(session, task=row.task, output=output)


def finish(session: TestSession, capture: Any) -> TestSession:
    with capture(using=shard_of(session.account_id), execute=True):
        session_finish(session)
    session.refresh_from_db()
    return session


def test_invitation_is_handed_out_again_while_it_is_open(session: TestSession) -> None:
    again = session_invite(test=session.test, email="ada@example.org", name="Ada Lovelace")
    assert again == session
    assert [c.name for c in Candidate.objects.all()] == ["Ada Lovelace"]


def test_codes_are_unguessable_and_different(screening: Test) -> None:
    codes = {
        session_invite(test=screening, email=f"{n}@example.org", name="N").code for n in range(50)
    }
    assert len(codes) == 50
    assert {len(code) for code in codes} == {12}


def test_start_sets_the_clock_the_country_and_the_maximum(started: TestSession) -> None:
    assert (started.status, started.maximum) == (Status.STARTED, 300)
    assert started.country is not None
    assert started.country.name == "Poland"
    assert started.deadline == started.started_at + timedelta(minutes=60)


def test_start_twice_keeps_the_first_clock(started: TestSession) -> None:
    assert session_start(started).started_at == started.started_at


def test_submission_replaces_the_earlier_one(started: TestSession) -> None:
    task = Task.objects.get(slug="leader")
    answer_submit(started, task=task, output="1")
    answer_submit(started, task=task, output="2\0")
    assert [answer.output for answer in Answer.objects.all()] == ["2"]


def test_nothing_is_submitted_before_the_start_or_after_the_end(session: TestSession) -> None:
    task = Task.objects.get(slug="leader")
    with pytest.raises(SessionClosed, match="not open"):
        answer_submit(session, task=task, output="1")
    with pytest.raises(SessionClosed, match="not been started"):
        session_finish(session)
    session_start(session)
    session_finish(session)
    with pytest.raises(SessionClosed, match="not open"):
        answer_submit(session, task=task, output="1")
    with pytest.raises(SessionClosed, match="cannot be started again"):
        session_start(session)


def test_nothing_is_submitted_after_the_deadline(started: TestSession) -> None:
    started.deadline = timezone.now() - timedelta(minutes=1)
    started.save()
    with pytest.raises(SessionClosed, match="time of this session is over"):
        answer_submit(started, task=Task.objects.get(slug="leader"), output="1")


def test_task_of_another_test_is_refused(started: TestSession) -> None:
    with pytest.raises(Task.DoesNotExist, match="no task of this test"):
        answer_submit(started, task=Task.objects.get(slug="overtakes"), output="1")


def test_output_above_the_limit_is_refused(started: TestSession) -> None:
    task = Task.objects.get(slug="leader")
    with pytest.raises(library.SubmissionTooLarge, match="1,048,576"):
        answer_submit(started, task=task, output="é" * (library.MAX_OUTPUT_BYTES // 2 + 1))


def test_right_answers_get_all_points(
    started: TestSession,
    django_capture_on_commit_callbacks: Any,
) -> None:
    solve(started)
    judged = finish(started, django_capture_on_commit_callbacks)
    assert (judged.status, judged.score, judged.percent) == (Status.CLOSED, 300, 100)
    assert {a.correctness for a in Answer.objects.all()} == {100}
    assert judged.judged_at >= judged.finished_at


def test_missing_and_wrong_answers_get_none(
    started: TestSession,
    django_capture_on_commit_callbacks: Any,
) -> None:
    solve(started, tasks=1)
    second = task_rows(started)[1].task
    answer_submit(started, task=second, output="nonsense\n" * 20)
    judged = finish(started, django_capture_on_commit_callbacks)
    assert (judged.score, judged.maximum, judged.percent) == (100, 300, 33)


def test_judging_twice_is_judging_once(
    started: TestSession, django_capture_on_commit_callbacks: Any
) -> None:
    finish(started, django_capture_on_commit_callbacks)
    assert judge_session(started.pk) is False


def test_broker_away_loses_nothing(
    started: TestSession,
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: Any,
) -> None:
    def refuse(*args: object) -> None:
        raise OperationalError("connection refused")

    with monkeypatch.context() as patch:
        patch.setattr(jobs.judge, "delay", refuse)
        assert finish(started, django_capture_on_commit_callbacks).status == Status.FINISHED
    jobs.sweep()
    started.refresh_from_db()
    assert started.status == Status.FINISHED  # asked for just now: its job may be on its way
    started.judge_asked_at = timezone.now() - timedelta(minutes=2)
    started.save()
    jobs.sweep()
    started.refresh_from_db()
    assert started.status == Status.CLOSED


def test_sweep_asks_once_a_minute_and_the_longest_waiting_first(
    screening: Test, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(jobs.judge, "delay", asked.append)
    monkeypatch.setattr(jobs, "SWEEP_LIMIT", 1)
    waiting = []
    for minutes in (5, 9):
        one = session_invite(test=screening, email=f"{minutes}@example.org", name="N")
        one.status, one.judge_asked_at = (
            Status.FINISHED,
            timezone.now() - timedelta(minutes=minutes),
        )
        one.save()
        waiting.append(one.pk)
    for _ in range(3):
        jobs.sweep()
    assert asked == [waiting[1], waiting[0]]


def test_task_that_left_the_library_is_judged_as_nothing(
    started: TestSession,
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: Any,
) -> None:
    solve(started)
    known = library.get

    def get(slug: str) -> library.Problem:
        return known("gone" if slug == "leader" else slug)

    monkeypatch.setattr("tasks.library.get", get)
    judged = finish(started, django_capture_on_commit_callbacks)
    assert (judged.status, judged.score, judged.maximum) == (Status.CLOSED, 200, 300)


def test_last_credit_starts_one_session(session: TestSession, screening: Test) -> None:
    session_start(session, credits=1)
    second = session_invite(test=screening, email="b@example.org", name="B")
    with pytest.raises(SessionClosed, match="no credit left"):
        session_start(second, credits=1)
    assert session_start(second, credits=2).status == Status.STARTED


def test_invitation_exists_once_by_the_database(session: TestSession) -> None:
    with pytest.raises(IntegrityError), account_atomic():
        TestSession.objects.create(test=session.test, candidate=session.candidate)


def test_sweep_finishes_what_is_overdue_and_leaves_the_rest(
    started: TestSession, screening: Test
) -> None:
    running = session_start(session_invite(test=screening, email="b@example.org", name="B"))
    started.deadline = timezone.now() - timedelta(minutes=1)
    started.save()
    jobs.sweep()
    started.refresh_from_db()
    running.refresh_from_db()
    assert (started.status, running.status) == (Status.FINISHED, Status.STARTED)


def test_session_of_a_neighbour_on_the_same_shard_is_out_of_reach(
    session: TestSession, other_account: Any
) -> None:
    assert shard_of(other_account.pk) == shard_of(session.account_id)
    with account_context(other_account.pk):
        assert not TestSession.objects.filter(code=session.code).exists()
        with pytest.raises(CrossAccount):
            session_invite(test=session.test, email="x@example.org", name="X")


def test_candidates_address_is_known_in_lower_case(inside: Any) -> None:
    first = candidate_get_or_create(email=" Bob@Example.ORG", name="Bob")
    assert candidate_get_or_create(email="bob@example.org", name="").pk == first.pk

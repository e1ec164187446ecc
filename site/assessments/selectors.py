"""Reads on an account's tests, candidates and sessions. All need an account in force."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Count, F, Q, QuerySet, Sum

import caching
from assessments.keyset import Page, paginate
from assessments.models import CODE_LENGTH, Answer, Candidate, Test, TestSession, TestTask
from tasks.models import Task

__all__ = [
    "SORTS",
    "Dashboard",
    "SessionFilter",
    "TestFigures",
    "chosen_tasks",
    "credits_used",
    "dashboard",
    "maximum_points",
    "session_by_code",
    "session_page",
    "task_rows",
    "tests",
    "timeline",
]

PAGE_SIZE = 25
RECENT = 8
Status = TestSession.Status

# name in the URL: (column, whether it may be NULL)
SORTS: dict[str, tuple[str, bool]] = {
    "name": ("candidate__name", False),
    "test": ("test__name", False),
    "created": ("created_at", False),
    "taken": ("started_at", True),
    "status": ("status", False),
    "result": ("score", True),
    "similarity": ("similarity", True),
}


@dataclass(frozen=True)
class SessionFilter:
    """What the sessions table is asked for."""

    search: str = ""
    status: str = ""
    test_id: int | None = None
    sort: str = "created"
    descending: bool = True


@dataclass
class TestFigures:
    """One test's numbers on the dashboard."""

    test_id: int
    name: str
    by_status: Counter[str] = field(default_factory=Counter)
    score: int = 0
    maximum: int = 0

    @property
    def sessions(self) -> int:
        return self.by_status.total()

    @property
    def average_percent(self) -> int | None:
        return round(100 * self.score / self.maximum) if self.maximum else None


@dataclass
class Dashboard:
    """An account at a glance."""

    tests: list[TestFigures]
    recent: list[TestSession]

    @property
    def by_status(self) -> Counter[str]:
        return sum((test.by_status for test in self.tests), Counter())

    @property
    def sessions(self) -> int:
        return self.by_status.total()

    @property
    def started(self) -> int:
        """Sessions that have used a credit."""
        return self.sessions - self.by_status[Status.INVITED]

    @property
    def average_percent(self) -> int | None:
        maximum = sum(test.maximum for test in self.tests)
        return round(100 * sum(test.score for test in self.tests) / maximum) if maximum else None


def dashboard() -> Dashboard:
    """The account's figures, in two queries where they are not cached."""
    recent = _with_people(TestSession.objects.order_by("-created_at", "-id"))
    return Dashboard(tests=_test_figures(), recent=list(recent[:RECENT]))


def _test_figures() -> list[TestFigures]:
    figures: dict[int, TestFigures] = {}
    # All sessions are counted: of many who look after a write, one counts and the others wait.
    for row in caching.cached(("dashboard figures",), _counted, on_miss="wait"):
        test = figures.setdefault(row["test_id"], TestFigures(row["test_id"], row["name"]))
        test.by_status[row["status"]] += row["number"]
        test.score += row["score"] or 0
        test.maximum += row["maximum"] or 0
    return list(figures.values())


def _counted() -> list[dict[str, Any]]:
    """Sessions and points by test and status, in the order of the tests' names."""
    closed = Q(status=Status.CLOSED)
    rows = TestSession.objects.no_cache().values("test_id", "status", name=F("test__name"))
    counted = rows.annotate(
        number=Count("*"), score=Sum("score", filter=closed), maximum=Sum("maximum", filter=closed)
    )
    return list(counted.order_by("name"))


def maximum_points(session: TestSession) -> int:
    """The points that the tasks of the session's test give together. Never from the cache."""
    chosen = TestTask.objects.no_cache().filter(test_id=session.test_id).select_related("task")
    return sum(row.task.points for row in chosen)


def credits_used() -> int:
    """Sessions of the account that have been started: each has used a credit.

    Never from the cache: it decides on what is paid for.
    """
    return TestSession.objects.no_cache().exclude(status=Status.INVITED).count()


def session_page(
    wanted: SessionFilter, *, after: str | None = None, before: str | None = None
) -> Page[TestSession]:
    """One page of the sessions table, in one query. Raises keyset.BadCursor."""
    rows = _with_people(TestSession.objects.all())
    if wanted.status:
        rows = rows.filter(status=wanted.status)
    if wanted.test_id:
        rows = rows.filter(test_id=wanted.test_id)
    if wanted.search:
        rows = rows.filter(_found(wanted.search))
    column, nullable = SORTS[wanted.sort]
    return paginate(
        rows,
        column=column,
        descending=wanted.descending,
        nullable=nullable,
        size=PAGE_SIZE,
        after=after,
        before=before,
    )


def _found(search: str) -> Q:
    """The sessions of candidates whose name or address has the text, and the one of that code."""
    people = Candidate.objects.filter(Q(name__icontains=search) | Q(email__icontains=search))
    found = Q(candidate__in=people)
    # Only where it can be a code: OR keeps the engine from walking the candidates' index.
    return found | Q(code=search.upper()) if len(search) == CODE_LENGTH else found


def _with_people(rows: QuerySet[TestSession]) -> QuerySet[TestSession]:
    return rows.select_related("candidate", "test")


def tests() -> QuerySet[Test]:
    """The account's tests by name."""
    return Test.objects.order_by("name")


def session_by_code(code: str) -> TestSession:
    """A session with its test and candidate. Raises TestSession.DoesNotExist."""
    return _with_people(TestSession.objects.all()).get(code=code.upper())


@dataclass
class TaskRow:
    """A task of a session's test, and the candidate's answer to it if there is one."""

    position: int
    task: Task
    answer: Answer | None


def chosen_tasks(session: TestSession) -> list[TestTask]:
    """The tasks of the session's test in order: no query where test and tasks are cached, else two.

    (A join with the tasks would be one, but nobody would be told when their copy on the shard
    changes.)
    """
    return list(TestTask.objects.filter(test_id=session.test_id).prefetch_related("task"))


def task_rows(session: TestSession, chosen: list[TestTask] | None = None) -> list[TaskRow]:
    """The chosen tasks, each with its answer, in one query more."""
    answers = {answer.task_id: answer for answer in Answer.objects.filter(session=session)}
    rows = chosen_tasks(session) if chosen is None else chosen
    return [TaskRow(row.position, row.task, answers.get(row.task_id)) for row in rows]


def timeline(session: TestSession, rows: list[TaskRow]) -> list[tuple[datetime, str]]:
    """What happened when, in order of time."""
    events: list[tuple[Any, str]] = [
        (session.created_at, "Invited"),
        (session.started_at, "Started"),
        *((row.answer.submitted_at, f"Submitted {row.task.title}") for row in rows if row.answer),
        (session.finished_at, "Finished"),
        (session.judged_at, "Judged"),
    ]
    return sorted((at, what) for at, what in events if at is not None)

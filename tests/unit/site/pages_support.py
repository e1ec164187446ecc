"""What the page tests have in common: logging in, filling an account, counting queries, reading."""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any

from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import Account, User
from assessments import services
from assessments.models import Candidate, Test, TestSession
from routers import account_context
from tasks.models import Task

__all__ = ["codes_shown", "counted_queries", "fill", "invited", "log_in", "make_test", "text_of"]

Status = TestSession.Status


def log_in(client: Client, email: str = "owner@acme.test") -> Client:
    """The client, logged in."""
    client.force_login(User.objects.get(email=email))
    return client


def make_test(account: Account, name: str = "Screening", tasks: int = 2) -> Test:
    """A test of the library's first tasks."""
    with account_context(account.pk):
        chosen = list(Task.objects.order_by("pk")[:tasks])
        return services.test_create(name=name, minutes=60, tasks=chosen)


def invited(account: Account, test: Test, name: str = "Ada Marsh") -> TestSession:
    """A session that has not been started."""
    email = f"{re.sub(r'[^a-z]+', '.', name.lower()).strip('.')}@example.com"
    with account_context(account.pk):
        return services.session_invite(test=test, email=email, name=name)


def fill(account: Account, test: Test, number: int) -> None:
    """So many sessions of all states, with equal values and NULLs in every column that has them."""
    began = timezone.now() - timedelta(days=400)
    with account_context(account.pk):
        people = [
            Candidate(email=f"p{row}.of.{test.pk}@example.com", name=f"Person {row % 7}")
            for row in range(number)
        ]
        Candidate.objects.bulk_create(people)
        people = list(Candidate.objects.filter(email__contains=f".of.{test.pk}@").order_by("pk"))
        TestSession.objects.bulk_create(
            _session(test, person, row, began) for row, person in enumerate(people)
        )


def _session(test: Test, person: Candidate, row: int, began: Any) -> TestSession:
    created = began + timedelta(hours=row // 3)
    started = created + timedelta(hours=1) if row % 3 else None
    judged = row % 3 == 1
    status = Status.CLOSED if judged else Status.STARTED if started else Status.INVITED
    return TestSession(
        test=test,
        candidate=person,
        status=status,
        created_at=created,
        started_at=started,
        score=10 * (row % 5) if judged else None,
        maximum=200 if started else 0,
        similarity=row % 4 if row % 6 == 1 else None,
    )


@contextmanager
def counted_queries() -> Iterator[list[str]]:
    """Collects the SQL of every database; read the list after the block."""
    statements: list[str] = []
    with ExitStack() as stack:
        captured = [
            stack.enter_context(CaptureQueriesContext(connection))
            for connection in connections.all()
        ]
        yield statements
    for each in captured:
        statements.extend(query["sql"] for query in each.captured_queries)


def text_of(response: Any) -> str:
    """The page's HTML."""
    return str(response.content.decode())


def codes_shown(response: Any) -> list[str]:
    """The codes in the sessions table, in order."""
    return re.findall(r"<code>([A-Z0-9]{12})</code>", text_of(response))

"""A walk over all pages meets each row once, forwards and backwards, in every order."""

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

from assessments.keyset import BadCursor
from assessments.models import Candidate, Test, TestSession
from assessments.selectors import PAGE_SIZE, SORTS, SessionFilter, session_page

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def sessions(screening: Test) -> int:
    """Sessions with equal values and empty ones in every column."""
    rng, count = Random(7), 2 * PAGE_SIZE + 8
    people = Candidate.objects.bulk_create(
        Candidate(email=f"{n}@x.org", name=rng.choice(["Ada", "Bo", "Cy"])) for n in range(count)
    )
    TestSession.objects.bulk_create(
        TestSession(
            test=screening,
            candidate=person,
            status=rng.choice(["invited", "closed"]),
            created_at=START + timedelta(microseconds=rng.randrange(9)),
            started_at=rng.choice([None, START, START + timedelta(days=1)]),
            score=rng.choice([None, 0, 150, 300]),
            similarity=rng.choice([None, 3]),
        )
        for person in people
    )
    return count


def value(row: Any, column: str) -> Any:
    for name in column.split("__"):
        row = getattr(row, name)
    return row


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("sort", SORTS)
def test_walk_meets_each_row_once(sessions: int, sort: str, descending: bool) -> None:
    wanted = SessionFilter(sort=sort, descending=descending)
    page = session_page(wanted)
    pages = [page]
    assert page.before is None
    while page.after:
        page = session_page(wanted, after=page.after)
        pages.append(page)
    rows = [row for page in pages for row in page.rows]
    assert len({row.pk for row in rows}) == len(rows) == sessions

    values = [value(row, SORTS[sort][0]) for row in rows]
    filled = [v for v in values if v is not None]
    assert filled == sorted(filled, reverse=descending)
    empties = [v is None for v in values]
    assert empties == sorted(empties, reverse=not descending)

    for earlier in reversed(pages[:-1]):
        page = session_page(wanted, before=page.before)
        assert page.rows == earlier.rows
        assert page.after == earlier.after
    assert page.before is None


@pytest.mark.parametrize("cursor", ["x", "AAAA", "bnVsbA", "WzEsMl0", "WyJ4IiwgInkiXQ", "é"])
def test_cursor_that_is_not_ours_is_refused(sessions: int, cursor: str) -> None:
    with pytest.raises(BadCursor):
        session_page(SessionFilter(), after=cursor)


def test_filters_narrow_the_table(sessions: int) -> None:
    closed = session_page(SessionFilter(status="closed"))
    assert {row.status for row in closed.rows} == {"closed"}
    ada = session_page(SessionFilter(search="ada"))
    assert {row.candidate.name for row in ada.rows} == {"Ada"}
    code = closed.rows[0].code
    assert [row.code for row in session_page(SessionFilter(search=code.lower())).rows] == [code]

from datetime import UTC, datetime
from typing import Any

import pytest

from accounts.models import Account
from assessments.models import Answer, Candidate, TestSession
from demo import services
from demo.plan import plan
from demo.services import Seeding, midnight
from routers import account_context, shard_of
from routers.keys import born_at_ms, born_on
from tasks.models import Task

GOLDEN = [
    (
        "farid.chen.1@example.org",
        "6ED380380001",
        "closed",
        datetime(2025, 1, 4, 14, 24, tzinfo=UTC),
        "EG",
        25,
    ),
    (
        "uma.santos.2@example.org",
        "127A36F40002",
        "closed",
        datetime(2025, 2, 8, 4, 48, tzinfo=UTC),
        "BR",
        133,
    ),
    (
        "carmen.petrov.3@example.org",
        "3620EDAF0003",
        "closed",
        datetime(2025, 3, 14, 19, 12, tzinfo=UTC),
        "NG",
        145,
    ),
]
SEEDING = Seeding(seed=1, until=datetime(2026, 11, 1, tzinfo=UTC))


def fill(account: Any, sessions: int, seeding: Seeding = SEEDING) -> int:
    tasks = list(Task.objects.order_by("slug").values_list("pk", flat=True))
    shard = shard_of(account.pk)
    return services._fill_account(shard, account.pk, sessions, tasks, seeding, lambda _: None)


def contents() -> list[tuple[Any, ...]]:
    columns = ("candidate__email", "code", "status", "created_at", "country_id", "score")
    return list(TestSession.objects.order_by("pk").values_list(*columns))


def test_accounts_are_of_very_different_size() -> None:
    sizes = [account.sessions for account in plan(200, 1_000_000)]
    assert sum(sizes) == 1_000_000
    assert sizes[0] > 100 * sizes[-1] > 0


def test_names_and_slugs_never_repeat() -> None:
    accounts = plan(2_000, 2_000)
    assert len({a.slug for a in accounts}) == len({a.name for a in accounts}) == 2_000


def test_rows_are_whole_and_make_sense(inside: Account) -> None:
    inserted = fill(inside, 500)
    assert Candidate.objects.count() == TestSession.objects.count() == 500
    closed = TestSession.objects.filter(status="closed")
    assert Answer.objects.count() == 3 * closed.count()
    assert inserted == 1_000 + 3 * closed.count()
    assert 0.8 < closed.count() / 500 < 0.95
    for session in closed.prefetch_related("answers")[:50]:
        assert session.created_at < session.started_at < session.finished_at < session.judged_at
        assert session.judged_at <= SEEDING.until
        assert session.score == sum(answer.score for answer in session.answers.all())
        assert session.maximum == 300
    scores = set(closed.values_list("score", flat=True))
    assert len(scores) > 20


def test_seed_decides_the_data(inside: Account) -> None:
    fill(inside, 50)
    first = contents()
    TestSession.objects.all().delete()
    Candidate.objects.all().delete()
    fill(inside, 50)
    assert contents() == first
    TestSession.objects.all().delete()
    Candidate.objects.all().delete()
    fill(inside, 50, Seeding(seed=2, until=SEEDING.until))
    assert contents() != first


def test_same_data_on_both_engines(db_of_all: None) -> None:
    """Golden rows: the same formula gives them on SQLite and on PostgreSQL."""
    account = Account.objects.create(pk=4_242, slug="golden", name="Golden")
    with account_context(account.pk):
        fill(account, 20)
        rows = contents()[:3]
    assert rows == GOLDEN


def test_keys_are_of_the_shard_and_lie_in_the_past(inside: Account) -> None:
    fill(inside, 20)
    now_ms = midnight().timestamp() * 1000
    for key in TestSession.objects.values_list("pk", flat=True):
        assert shard_of(inside.pk) == f"shard{born_on(key):02}"
        assert born_at_ms(key) < now_ms


def test_interrupted_run_goes_on_and_a_finished_one_does_nothing(
    inside: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "CHUNK", 7)
    fill(inside, 21)
    half = contents()
    fill(inside, 50)
    assert TestSession.objects.count() == 50
    assert [row[0] for row in contents()[:21]] == [row[0] for row in half]
    assert fill(inside, 50) == 0


def test_real_candidates_do_not_count_as_demo_data(inside: Account, screening: Any) -> None:
    from assessments.services import session_invite

    session_invite(test=screening, email="real@example.org", name="Real")
    fill(inside, 10)
    assert TestSession.objects.count() == 11


def test_demo_login_keeps_its_password_unless_given_one(db_of_all: None) -> None:
    made_up = services.demo_user(None)
    assert made_up
    assert services.demo_user(None) is None
    user = services.User.objects.get(email=services.DEMO_EMAIL)
    assert user.check_password(made_up)
    assert services.demo_user("given") is None
    user.refresh_from_db()
    assert user.check_password("given")


def test_account_outside_is_untouched(inside: Account, other_account: Account) -> None:
    fill(inside, 5)
    with account_context(other_account.pk):
        assert not TestSession.objects.exists()

"""Contests: who takes part and when, and one leaderboard over all shards."""

from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.db import IntegrityError, OperationalError
from django.test import Client
from django.utils import timezone

from accounts.models import Account
from assessments import services
from assessments.services import SessionClosed
from contests import boards, jobs
from contests.boards import BOARD, make_board
from contests.models import Contest, ContestTest
from contests.selectors import public_name
from contests.services import contest_create, contest_join
from routers import account_context, shard_of
from routers.conf import settings as sharding
from tests.unit.site.contests_support import account_on_each_shard, closed, contest_of
from tests.unit.site.pages_support import counted_queries, log_in, text_of

pytestmark = pytest.mark.django_db(databases="__all__")


@pytest.fixture(autouse=True)
def no_board_of_another_test() -> None:
    cache.clear()
    BOARD._alone.__init__(BOARD._value, BOARD.fresh_seconds)  # type: ignore[misc]


# Taking part


def test_an_account_takes_part_with_one_test(inside: Account) -> None:
    contest = contest_of()
    test = contest_join(contest)
    assert contest_join(contest) == test
    assert (test.name, test.minutes) == ("Spring Open", 90)
    chosen = [place.task for place in test.test_tasks.select_related("task")]
    assert chosen == [place.task for place in contest.contest_tasks.select_related("task")]
    assert len(chosen) == 2


def test_a_test_of_the_same_name_is_no_obstacle(inside: Account) -> None:
    services.test_create(name="Spring Open", minutes=60, tasks=[])
    contest = contest_of()
    assert contest_join(contest).name == f"Spring Open (contest {contest.pk})"


def test_whoever_was_faster_has_made_the_test(
    inside: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    contest = contest_of()

    def faster(**given: Any) -> Any:
        monkeypatch.undo()
        contest_join(contest)
        raise IntegrityError

    monkeypatch.setattr("contests.services.test_create", faster)
    with pytest.raises(ContestTest.DoesNotExist):  # rolled back with ours; a real one is not
        contest_join(contest)


def test_a_contest_ends_after_it_starts(db_of_all: None) -> None:
    now = timezone.now()
    with pytest.raises(IntegrityError):
        contest_create(slug="x", name="X", starts_at=now, ends_at=now, tasks=[])


@pytest.mark.parametrize(
    ("begins", "ends", "says"), [(1, 2, "begins at"), (-2, -1, "is over. Nobody can start")]
)
def test_nobody_starts_before_or_after(
    inside: Account, begins: float, ends: float, says: str
) -> None:
    test = contest_join(contest_of(begins=begins, ends=ends))
    session = services.session_invite(test=test, email="a@example.org", name="Ada")
    with pytest.raises(SessionClosed, match=says):
        services.session_start(session)
    session.refresh_from_db()
    assert (session.status, session.started_at) == ("invited", None)


def test_the_end_of_the_contest_ends_every_sitting(inside: Account) -> None:
    contest = contest_of(ends=0.5)
    session = services.session_invite(test=contest_join(contest), email="a@x.org", name="Ada")
    assert services.session_start(session).deadline == contest.ends_at


def test_a_sitting_within_the_contest_has_its_minutes(inside: Account) -> None:
    test = contest_join(contest_of(ends=3))
    session = services.session_start(services.session_invite(test=test, email="a@x.org", name="A"))
    assert session.deadline - session.started_at == timedelta(minutes=90)


def test_other_tests_do_not_care(screening: Any) -> None:
    contest_of(begins=-2, ends=-1)
    session = services.session_invite(test=screening, email="a@x.org", name="Ada")
    assert services.session_start(session).status == "started"


# The leaderboard


def test_one_board_over_all_shards(db_of_all: None) -> None:
    contest, accounts = contest_of(), account_on_each_shard()
    assert {shard_of(account.pk) for account in accounts} == set(sharding().shards)
    for number, account in enumerate(accounts):
        closed(account, contest, f"Person{number} Marsh", 50 * number)
    board = make_board("spring")
    assert [(row["rank"], row["name"]) for row in board["rows"]] == [
        (1, "Person3 M."),
        (2, "Person2 M."),
        (3, "Person1 M."),
        (4, "Person0 M."),
    ]
    assert (board["judged"], board["at_work"], board["missing"]) == (4, 0, [])
    assert board["rows"][0]["country"] == "Poland"


def test_less_time_wins_and_equals_share_a_rank(db_of_all: None) -> None:
    contest, (one, two, *_) = contest_of(), account_on_each_shard()
    closed(one, contest, "Slow", 100, minutes=50)
    closed(two, contest, "Fast", 100, minutes=20)
    slow = closed(two, contest, "Also", 100, minutes=50)
    with account_context(one.pk):  # to the microsecond
        twin = slow.__class__.objects.get(candidate__name="Slow")
        twin.started_at, twin.finished_at = slow.started_at, slow.finished_at
        twin.save()
    closed(one, contest, "Last", 10)
    ranks = {row["name"]: row["rank"] for row in make_board("spring")["rows"]}
    assert ranks == {"Fast": 1, "Slow": 2, "Also": 2, "Last": 4}


def test_who_was_invited_twice_is_shown_once_by_the_best(db_of_all: None) -> None:
    contest, (one, two, *_) = contest_of(), account_on_each_shard()
    closed(one, contest, "Ada Marsh", 40, email="ada@example.org")
    closed(two, contest, "Ada Marsh", 90, email="Ada@example.org")
    assert [row["score"] for row in make_board("spring")["rows"]] == [90]


def test_other_sessions_are_not_in_it(db_of_all: None) -> None:
    contest, accounts = contest_of(), account_on_each_shard()
    other = contest_of("autumn", name="Autumn Open")
    for account in accounts:
        closed(account, other, "Somebody Else", 150)
    with account_context(accounts[0].pk):
        test = contest_join(contest)
        session = services.session_invite(test=test, email="a@example.org", name="At Work")
        services.session_start(session)
        services.session_invite(test=test, email="b@example.org", name="Only Invited")
    board = make_board("spring")
    assert (board["rows"], board["judged"], board["at_work"]) == ([], 0, 1)


def test_as_many_queries_for_any_number_of_accounts(db_of_all: None) -> None:
    """Two on each shard, and one in the catalog."""
    contest, accounts = contest_of(), account_on_each_shard()
    shards = []
    for number in (1, 12):
        for person in range(number):
            for account in accounts:
                closed(account, contest, f"P{number} Q{person}", person)
        with counted_queries() as queries:
            make_board("spring")
        shards.append(len([sql for sql in queries if sql.startswith("SELECT")]))
    assert shards == [1 + 2 * len(accounts)] * 2


def test_a_shard_that_is_away_is_named(db_of_all: None, monkeypatch: pytest.MonkeyPatch) -> None:
    contest, accounts = contest_of(), account_on_each_shard()
    for number, account in enumerate(accounts):
        closed(account, contest, f"Person{number} Marsh", 50 * number)
    away_shard(monkeypatch, shard_of(accounts[3].pk))
    board = make_board("spring")
    assert board["missing"] == [shard_of(accounts[3].pk)]
    assert [row["name"] for row in board["rows"]] == ["Person2 M.", "Person1 M.", "Person0 M."]
    text = text_of(Client().get("/contests/spring/"))
    assert f"Counted without {shard_of(accounts[3].pk)}, which does not answer" in text


def away_shard(monkeypatch: pytest.MonkeyPatch, alias: str) -> None:
    from django.db.models.sql.compiler import SQLCompiler

    execute = SQLCompiler.execute_sql

    def refuse(self: Any, *given: Any, **named: Any) -> Any:
        if self.using == alias:
            raise OperationalError("connection refused")
        return execute(self, *given, **named)

    monkeypatch.setattr(SQLCompiler, "execute_sql", refuse)
    monkeypatch.setattr("routers.fanout.shard_reads.is_away", lambda *given: True)  # on SQLite too


@pytest.mark.parametrize(
    ("name", "public"),
    [("Ada Marsh", "Ada M."), ("Ada", "Ada"), ("Ada von der Heide", "Ada H."), ("  ", "?")],
)
def test_a_public_name_is_not_the_whole(name: str, public: str) -> None:
    assert public_name(name) == public


# What viewers get


def test_viewers_cost_nothing_on_shards(client: Client, db_of_all: None) -> None:
    contest, accounts = contest_of(), account_on_each_shard()
    for number in range(3):
        closed(accounts[0], contest, f"Person{number} X", number)
    first = client.get("/contests/spring/")
    for address in ("/contests/spring/", "/contests/spring/board/"):
        with counted_queries() as queries:
            response = client.get(address)
        assert (response.status_code, queries) == (200, [])
        assert response["Cache-Control"].startswith("public, max-age=5")
        assert response["ETag"] == first["ETag"]
        assert not response.has_header("Vary")
    with counted_queries() as queries:
        again = client.get("/contests/spring/", headers={"If-None-Match": first["ETag"]})
    assert (again.status_code, again.content, queries) == (304, b"", [])


def test_everybody_gets_the_same_page(client: Client, account: Account) -> None:
    contest_of()
    member = log_in(Client())
    assert client.get("/contests/spring/").content == member.get("/contests/spring/").content


def test_a_contest_that_there_is_not_is_not_counted(client: Client, db_of_all: None) -> None:
    for address in ("/contests/nothing/", "/contests/nothing/board/"):
        assert client.get(address).status_code == 404
    assert BOARD.peek("nothing") is None


def test_while_it_is_counted_the_page_says_so(
    client: Client, db_of_all: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    contest_of()
    monkeypatch.setattr(boards.BOARD, "_alone_answer", lambda key: pending())
    response = client.get("/contests/spring/")
    assert (response.status_code, response["Retry-After"]) == (202, "1")
    assert response["Cache-Control"] == "no-store"
    assert "It is being counted" in text_of(response)
    assert "Spring Open" in text_of(response)


def pending() -> Any:
    from prepared import Answer, State

    return Answer(State.PENDING)


def test_where_it_cannot_be_counted_the_page_says_so(
    client: Client, db_of_all: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    contest_of()
    monkeypatch.setattr(boards, "sessions_of", lambda contest: 1 / 0)
    response = client.get("/contests/spring/")
    assert response.status_code == 503
    assert "cannot be counted just now" in text_of(response)


def test_the_list(client: Client, db_of_all: None) -> None:
    contest_of("over", begins=-3, ends=-2, name="Over One")
    contest_of("ahead", begins=2, ends=3, name="Ahead One")
    contest_of("going", name="Going One")
    with counted_queries() as queries:
        text = text_of(client.get("/contests/"))
    assert text.index("Going One") < text.index("Ahead One") < text.index("Over One")
    assert len(queries) == 1
    Contest.objects.all().delete()
    assert "No contests just now" in text_of(client.get("/contests/"))


def test_beat_counts_those_that_run(db_of_all: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for slug, begins, ends in (("a", -1, 1), ("b", 1, 2), ("c", -9, -8), ("d", -2, -0.01)):
        contest_of(slug, begins=begins, ends=ends)
    counted: list[str] = []
    monkeypatch.setattr(BOARD, "refresh", lambda slug: counted.append(slug) or True)
    assert jobs.renew_boards() == 2
    assert sorted(counted) == ["a", "d"]


# An account's page


def test_an_account_takes_part_by_its_page(client: Client, account: Account) -> None:
    contest_of()
    owner = log_in(client)
    assert "Take part" in text_of(owner.get("/a/acme/contests/"))
    response = owner.post("/a/acme/contests/", {"contest": "spring"})
    with account_context(account.pk):
        test = ContestTest.objects.get().test
    assert response["Location"] == f"/a/acme/invite/?test={test.pk}"
    text = text_of(owner.get("/a/acme/contests/"))
    assert "Take part" not in text
    assert f"/a/acme/invite/?test={test.pk}" in text


def test_a_viewer_only_looks(client: Client, account: Account) -> None:
    contest_of()
    viewer = log_in(client, "viewer@acme.test")
    assert "Take part" not in text_of(viewer.get("/a/acme/contests/"))
    assert viewer.post("/a/acme/contests/", {"contest": "spring"}).status_code == 403
    with account_context(account.pk):
        assert not ContestTest.objects.exists()


def test_nobody_takes_part_in_what_is_over(client: Client, account: Account) -> None:
    contest_of(begins=-2, ends=-1)
    response = log_in(client).post("/a/acme/contests/", {"contest": "spring"}, follow=True)
    assert "Spring Open is over." in text_of(response)
    assert "No contest is open." in text_of(response)


def test_the_accounts_page_costs_the_same_for_any_number(client: Client, account: Account) -> None:
    owner, costs = log_in(client), []
    for number in (1, 9):
        for one in range(number):
            contest = contest_of(f"c{number}-{one}", name=f"C {number} {one}")
            with account_context(account.pk):
                contest_join(contest)
        with counted_queries() as queries:
            owner.get("/a/acme/contests/")
        costs.append(len(queries))
    assert costs[0] == costs[1] <= 8


def test_an_invitation_says_that_it_is_to_a_contest(client: Client, account: Account) -> None:
    contest = contest_of()
    with account_context(account.pk):
        test = contest_join(contest)
        session = services.session_invite(test=test, email="a@example.org", name="Ada Marsh")
    text = text_of(client.get(f"/c/acme/{session.code}/"))
    assert "This is a public contest" in text
    assert "as “Ada M.”" in text
    assert "/contests/spring/" in text

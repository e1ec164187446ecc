"""The pages from the cache: what a hit asks, and that no write is ever missed.

Here every write is committed, by a thread with connections of its own: nothing is kept in the
transaction that other tests run in. On SQLite nothing is cached.
"""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from time import monotonic
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.test import Client
from django.urls import reverse

from accounts.models import Account, Membership, User
from assessments import selectors, services
from assessments.models import Answer, Candidate, Test, TestSession, TestTask
from caching import local, service, wire
from caching.wire import Wire
from routers import SLOTS, account_atomic, account_context, shard_of
from tests.unit.site.pages_support import counted_queries, fill, invited, log_in, make_test, text_of

pytestmark = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="nothing is cached on SQLite"
)
SLUGS = ("cached", "beside")
OWNERS = [f"owner@{slug}.test" for slug in SLUGS]
PEOPLE = [*OWNERS, "two@cached.test"]
TABLES = ("answer", "testsession", "testtask", "test", "candidate")
PATIENCE = 20.0  # seconds until a page is in the cache: a token may wait for others' transactions
BY_HAND = "UPDATE assessments_candidate SET name = 'By Hand' WHERE id = %s"
LOGIN = 2  # the login's session, and who that is, are asked of the catalog each time

# Page → queries where nothing is cached yet, queries and round trips to Redis where all is.
COLD_AND_WARM = {
    "dashboard": (LOGIN + 2, LOGIN, 3),
    "sessions": (LOGIN + 2, LOGIN, 3),
    "tests": (LOGIN + 2, LOGIN, 4),
    "report": (LOGIN + 3, LOGIN, 5),  # answers are read for its fragments alone
    "candidate_home": (4, 2, 3),  # the answers, and which contest the test is in
}


@pytest.fixture
def committed(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every database, without a transaction around the test; its rows are deleted afterwards."""
    request.getfixturevalue("django_db_setup")
    with request.getfixturevalue("django_db_blocker").unblock():
        delete_everything()
        forget()
        yield
        delete_everything()
        connections.close_all()


@pytest.fixture
def mine(committed: None) -> Account:
    """An account with its owner."""
    return made(0)


@pytest.fixture
def theirs(mine: Account) -> Account:
    """Another one, on the same shard."""
    account = made(1, pk=mine.pk + SLOTS)
    assert shard_of(account.pk) == shard_of(mine.pk)
    return account


@pytest.fixture
def owner(mine: Account) -> Client:
    return log_in(Client(), OWNERS[0])


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The commands that were sent to Redis since the list was emptied."""
    sent: list[str] = []
    call = Wire.call

    def noted(wire: Wire, command: Any, **options: Any) -> Any:
        sent.append(command("")[0])
        return call(wire, command, **options)

    monkeypatch.setattr(Wire, "call", noted)
    monkeypatch.setattr(local, "now", lambda: 0.0)  # a lease that ends is one more, now and then
    return sent


def made(number: int, **fields: Any) -> Account:
    user = User.objects.create_user(OWNERS[number], "secret", name="Owner")
    account = Account.objects.create(slug=SLUGS[number], name=f"Firm {number}", **fields)
    Membership.objects.create(user=user, account=account, role=Membership.Role.OWNER)
    return account


def delete_everything() -> None:
    """Past the cache: as if no test had been here."""
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT id FROM accounts_account WHERE slug = ANY(%s)", [list(SLUGS)])
        accounts = [row[0] for row in cursor.fetchall()]
        raw = cursor.cursor
        raw.execute("DELETE FROM accounts_membership WHERE account_id = ANY(%s)", [accounts])
        raw.execute("DELETE FROM accounts_user WHERE email = ANY(%s)", [PEOPLE])
        raw.execute("DELETE FROM accounts_account WHERE id = ANY(%s)", [accounts])
    for alias in {shard_of(account) for account in accounts}:
        with connections[alias].cursor() as cursor:
            for table in TABLES:
                cursor.cursor.execute(
                    f"DELETE FROM assessments_{table} WHERE account_id = ANY(%s)", [accounts]
                )


def forget() -> None:
    """What this process knows. A cache that an earlier test left turned off is on again."""
    for alias in ("default", "shard01", "shard02", "shard03", "shard04"):
        with connections[alias].cursor() as cursor:
            cursor.cursor.execute("UPDATE caching_service SET is_off = false, epoch = epoch + 1")
    service.forget()
    local.clear()


def elsewhere(account: Account, work: Callable[[], Any]) -> None:
    """Do it in the account, in another thread, and commit it."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            with account_context(account.pk):
                work()
        except BaseException as error:
            failed.append(error)
        finally:
            connections.close_all()

    thread = Thread(target=run)
    thread.start()
    thread.join(60)
    assert not failed
    assert not thread.is_alive()


@contextmanager
def away(settings: Any) -> Iterator[None]:
    """Nobody listens where this process looks for Redis."""
    right = settings.CACHES
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        location = f"redis://127.0.0.1:{held.getsockname()[1]}/0"
        settings.CACHES = {**right, "models": {**right["models"], "LOCATION": location}}
        wire.forget()
        try:
            yield
        finally:
            settings.CACHES = right
            wire.forget()


def page(name: str, *args: object) -> str:
    return reverse(f"assessments:{name}", args=args)


def warm(client: Client, address: str, queries: int) -> None:
    """Visit the page until it is cached as far as it ever is."""
    deadline = monotonic() + PATIENCE
    while monotonic() < deadline:
        with counted_queries() as asked:
            assert client.get(address).status_code == 200
        if len(asked) <= queries:
            return
    raise AssertionError("\n".join(asked))


def addresses(account: Account, session: TestSession) -> dict[str, str]:
    slug = account.slug
    return {
        "dashboard": page("dashboard", slug),
        "sessions": page("sessions", slug),
        "tests": page("tests", slug),
        "report": page("report", slug, session.code),
        "candidate_home": page("candidate_home", slug, session.code),
    }


@pytest.mark.parametrize("name", COLD_AND_WARM)
def test_what_a_page_asks_cold_and_warm_whatever_the_size(
    owner: Client, mine: Account, trips: list[str], name: str
) -> None:
    found = []
    for number in (5, 20, 2_000):
        test = make_test(mine, f"Of {number}", tasks=2)
        fill(mine, test, number)
        address = addresses(mine, invited(mine, test))[name]
        with counted_queries() as cold:
            owner.get(address)
        warm(owner, address, COLD_AND_WARM[name][1])
        owner.get(address)
        trips.clear()
        with counted_queries() as hit:
            owner.get(address)
        found.append((len(cold), len(hit), len(trips)))
    # The first one has also asked for what all accounts have in common.
    assert found[1:] == [COLD_AND_WARM[name]] * 2, "\n".join([*cold, "warm:", *hit, *trips])


WRITES: dict[str, tuple[tuple[str, ...], Callable[[Any], Any], str]] = {
    "an invitation": (
        ("dashboard", "sessions"),
        lambda s: services.session_invite(test=s.test, email="new@x.test", name="Newly Invited"),
        "Newly Invited",
    ),
    "another name, by save()": (
        ("dashboard", "sessions", "report"),
        lambda s: services.candidate_get_or_create(email=s.candidate.email, name="Renamed Now"),
        "Renamed Now",
    ),
    "a result, by update()": (
        ("sessions", "report"),
        lambda s: TestSession.objects.filter(pk=s.pk).update(
            status="closed", score=77, maximum=177
        ),
        "177",
    ),
    "a submission": (
        ("report",),
        lambda s: Answer.objects.create(
            session=s, task=s.test.test_tasks.all()[0].task, output="Freshly submitted"
        ),
        "Freshly submitted",
    ),
    "SQL of one's own": (
        ("dashboard", "sessions", "report"),
        lambda s: (
            connections[shard_of(s.account_id)]
            .cursor()
            .execute(
                "UPDATE assessments_candidate SET name = 'By Hand' WHERE id = %s", [s.candidate_id]
            )
        ),
        "By Hand",
    ),
    "a test": (
        ("tests", "sessions"),
        lambda s: services.test_create(name="Newest Test", minutes=30, tasks=[]),
        "Newest Test",
    ),
    "a test's name": (
        ("dashboard", "sessions", "tests", "report", "candidate_home"),
        lambda s: Test.objects.filter(pk=s.test_id).update(name="Other Title"),
        "Other Title",
    ),
    "the account's name": (
        ("dashboard", "sessions", "tests", "report", "candidate_home"),
        lambda s: Account.objects.filter(pk=s.account_id).update(name="Merged Firm"),
        "Merged Firm",
    ),
    "the account's credits": (
        ("dashboard",),
        lambda s: Account.objects.filter(pk=s.account_id).update(credits=4_321),
        "4,321",
    ),
}


@pytest.mark.parametrize("write", WRITES)
def test_a_write_shows_at_once_on_every_page(owner: Client, mine: Account, write: str) -> None:
    names, work, shown = WRITES[write]
    session = invited(mine, make_test(mine), "Ada Marsh")
    visited = {name: addresses(mine, session)[name] for name in names}
    for name, address in visited.items():
        warm(owner, address, COLD_AND_WARM[name][1])
        assert shown not in text_of(owner.get(address))
    elsewhere(mine, lambda: work(session))
    for name, address in visited.items():
        assert shown in text_of(owner.get(address)), name


def test_what_is_deleted_is_gone_at_once(owner: Client, mine: Account) -> None:
    session = invited(mine, make_test(mine), "Ada Marsh")
    visited = [page(name, mine.slug) for name in ("dashboard", "sessions")]
    for address in visited:
        warm(owner, address, LOGIN)
        assert "Ada Marsh" in text_of(owner.get(address))
    elsewhere(mine, lambda: Candidate.objects.get(pk=session.candidate_id).delete())
    for address in visited:
        assert "Ada Marsh" not in text_of(owner.get(address))


@pytest.mark.parametrize("name", ["dashboard", "sessions"])
def test_what_is_not_committed_is_seen_by_its_writer_and_kept_for_nobody(
    owner: Client, mine: Account, name: str
) -> None:
    session, address = invited(mine, make_test(mine), "Ada Marsh"), page(name, mine.slug)
    warm(owner, address, LOGIN)
    with account_context(mine.pk), account_atomic():
        Candidate.objects.filter(pk=session.candidate_id).update(name="Never Was")
        for _ in range(3):
            assert "Never Was" in text_of(owner.get(address))
        seen: list[str] = []
        elsewhere(mine, lambda: seen.extend(text_of(owner.get(address)) for _ in range(3)))
        transaction.set_rollback(True, using=shard_of(mine.pk))
    assert len(seen) == 3
    for text in (*seen, text_of(owner.get(address))):
        assert "Never Was" not in text
        assert "Ada Marsh" in text


def test_a_judgement_shows_at_once(owner: Client, mine: Account) -> None:
    """Answers are no cached model; the fragments of the report follow them all the same."""
    session = invited(mine, make_test(mine))
    with account_context(mine.pk):
        task = session.test.test_tasks.all()[0].task
        Answer.objects.create(session=session, task=task, output="1")
    address = page("report", mine.slug, session.code)
    warm(owner, address, LOGIN)
    assert "submitted, not judged yet" in text_of(owner.get(address))
    judged = {"correctness": 87, "performance": 13, "score": 50}
    elsewhere(mine, lambda: Answer.objects.filter(session=session).update(**judged))
    text = text_of(owner.get(address))
    assert "submitted, not judged yet" not in text
    assert "87%" in text


def test_a_task_that_is_changed_shows_at_once(
    owner: Client, mine: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tasks belong to all accounts: no account's token tells of them, so their values are keys."""
    session = invited(mine, make_test(mine))
    address = page("report", mine.slug, session.code)
    warm(owner, address, LOGIN)
    changed = selectors.chosen_tasks

    def with_other_title(session: TestSession) -> list[TestTask]:
        chosen = changed(session)
        chosen[0].task.title = "Retitled"
        return chosen

    assert "Retitled" not in text_of(owner.get(address))
    monkeypatch.setattr(selectors, "chosen_tasks", with_other_title)
    assert "Retitled" in text_of(owner.get(address))


def test_who_is_put_out_is_out_at_once(owner: Client, mine: Account) -> None:
    address = page("sessions", mine.slug)
    make_test(mine)
    warm(owner, address, LOGIN)
    elsewhere(mine, lambda: Membership.objects.filter(account=mine).delete())
    assert owner.get(address).status_code == 404


def test_a_lesser_role_sees_a_page_of_its_own(owner: Client, mine: Account) -> None:
    invite = f'href="{page("invite", mine.slug)}"'
    visited = {name: page(name, mine.slug) for name in ("dashboard", "sessions", "tests")}
    for address in visited.values():
        warm(owner, address, LOGIN)
        assert invite in text_of(owner.get(address))
    elsewhere(mine, lambda: Membership.objects.filter(account=mine).update(role="viewer"))
    for address in visited.values():
        for _ in range(3):
            assert invite not in text_of(owner.get(address))


def test_no_account_sees_what_is_cached_for_another(
    owner: Client, mine: Account, theirs: Account
) -> None:
    """Of the same shard, with tests and people of the same kind."""
    other = log_in(Client(), OWNERS[1])
    session = invited(mine, make_test(mine, "Test of mine"), "Mine Alone")
    their_session = invited(theirs, make_test(theirs, "Test of theirs"), "Theirs Alone")
    for name, address in addresses(mine, session).items():
        warm(owner, address, COLD_AND_WARM[name][1])
        if name != "candidate_home":
            assert other.get(address).status_code == 404
    for name, address in addresses(theirs, their_session).items():
        for _ in range(4):
            text = text_of(other.get(address))
            assert "Mine Alone" not in text
            assert "Test of mine" not in text
            assert "Firm 0" not in text, name


def test_no_page_in_the_cache_has_a_token_or_an_email_of_who_asked(
    owner: Client, mine: Account
) -> None:
    """What one member has caused to be kept, another member sees."""
    colleague = User.objects.create_user(f"two@{mine.slug}.test", "secret")
    Membership.objects.create(user=colleague, account=mine, role=Membership.Role.OWNER)
    session = invited(mine, make_test(mine))
    second = log_in(Client(), colleague.email)
    for name in ("dashboard", "sessions", "tests", "report"):
        address = addresses(mine, session)[name]
        warm(owner, address, COLD_AND_WARM[name][1])
        text = text_of(second.get(address))
        assert OWNERS[0] not in text
        assert colleague.email in text
        assert owner.cookies["csrftoken"].value not in text


@pytest.mark.parametrize("name", COLD_AND_WARM)
def test_without_redis_pages_are_as_in_the_database_then_and_afterwards(
    owner: Client, mine: Account, settings: Any, name: str
) -> None:
    session = invited(mine, make_test(mine), "Ada Marsh")
    address = addresses(mine, session)[name]
    warm(owner, address, COLD_AND_WARM[name][1])
    with away(settings):
        assert owner.get(address).status_code == 200
        elsewhere(mine, lambda: Test.objects.filter(pk=session.test_id).update(name="Other Title"))
        for _ in range(2):
            assert "Other Title" in text_of(owner.get(address))
    assert "Other Title" in text_of(owner.get(address))
    elsewhere(mine, lambda: Test.objects.filter(pk=session.test_id).update(name="Third Title"))
    assert "Third Title" in text_of(owner.get(address))
    warm(owner, address, COLD_AND_WARM[name][1])
    assert "Third Title" in text_of(owner.get(address))

"""The catalog away: who is known goes on, for a while; who is not is told so."""

import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client

from accounts import remembered
from accounts.models import Account, Membership, User
from routers import account_context
from routers.catalog import contact

pytestmark = pytest.mark.django_db(databases="__all__")


@pytest.fixture(autouse=True)
def nothing_known() -> Iterator[None]:
    contact.made()
    cache.clear()
    remembered._memory._entries.clear()
    yield
    contact.made()


@pytest.fixture
def owner(account: Account) -> Client:
    """Logged in, on a page of the account."""
    client = Client(raise_request_exception=False)
    assert client.login(username="owner@acme.test", password="secret")
    assert client.get("/a/acme/").status_code == 200
    return client


def catalog_away() -> None:
    contact.lost(Exception("gone"))
    contact.retry_at += 3600


def test_a_member_goes_on_without_asking_the_catalog(
    owner: Client, django_assert_num_queries: Any
) -> None:
    catalog_away()
    with django_assert_num_queries(0, using="default"):
        answer = owner.get("/a/acme/sessions/")
    assert answer.status_code == 200
    assert "owner@acme.test" in answer.content.decode()
    assert owner.get("/").status_code == 302


def test_another_process_knows_it_from_the_cache(owner: Client) -> None:
    remembered._memory._entries.clear()
    catalog_away()
    assert owner.get("/a/acme/").status_code == 200


def test_this_process_knows_it_without_the_cache(owner: Client) -> None:
    cache.clear()
    catalog_away()
    assert owner.get("/a/acme/").status_code == 200


def test_a_candidate_goes_on(account: Account, screening: Any) -> None:
    from assessments.services import session_invite

    session = session_invite(test=screening, email="ada@example.org", name="Ada")
    path = f"/c/acme/{session.code}/"
    assert Client().get(path).status_code == 200
    catalog_away()
    client = Client()
    assert client.get(path).status_code == 200
    assert client.post(f"{path}start/", {"accept": "on"}).status_code == 302
    with account_context(account.pk):
        session.refresh_from_db()
    assert session.started_at is not None


def test_who_is_not_known_is_told_that_the_catalog_is_away(owner: Client, account: Account) -> None:
    stranger = Client(raise_request_exception=False)
    stranger.cookies["sessionid"] = "0123456789abcdef0123456789abcdef"
    Account.objects.create(slug="never-seen", name="Never seen")
    catalog_away()
    for client, path in ((stranger, "/a/acme/"), (owner, "/c/never-seen/ABCDEF/")):
        answer = client.get(path)
        assert answer.status_code == 503
        assert b"catalog" in answer.content


def test_a_removed_member_is_out_at_once_and_stays_out(owner: Client) -> None:
    Membership.objects.filter(user__email="owner@acme.test").delete()
    assert owner.get("/a/acme/").status_code == 404
    catalog_away()
    assert owner.get("/a/acme/").status_code == 404


@pytest.mark.parametrize("change", [{"is_active": False}, {"password": "changed"}])
def test_a_login_that_has_ended_stays_ended(owner: Client, change: dict[str, Any]) -> None:
    User.objects.filter(email="owner@acme.test").update(**change)
    assert owner.get("/a/acme/").status_code == 302
    catalog_away()
    assert owner.get("/a/acme/").status_code in (302, 503)


def test_a_session_that_was_logged_out_stays_out(owner: Client) -> None:
    key = owner.cookies["sessionid"].value
    assert owner.post("/logout/").status_code == 302
    again = Client(raise_request_exception=False)
    again.cookies["sessionid"] = key
    catalog_away()
    assert again.get("/a/acme/").status_code == 503


def test_what_is_remembered_ends_after_its_time(
    owner: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog_away()
    monkeypatch.setattr(remembered, "REMEMBERED_SECONDS", 0)
    assert owner.get("/a/acme/").status_code == 503


def test_neither_passwords_nor_sessions_keys_are_in_the_cache(owner: Client) -> None:
    kept = pickle.dumps(cache._cache)  # type: ignore[attr-defined]
    stored = User.objects.get(email="owner@acme.test").password
    assert b"owner@acme.test" in b"".join(cache._cache.values())  # type: ignore[attr-defined]
    assert stored.encode() not in b"".join(cache._cache.values())  # type: ignore[attr-defined]
    assert owner.cookies["sessionid"].value.encode() not in kept


def test_only_so_much_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "ENTRIES", 3)
    for number in range(10):
        remembered._memory.keep(str(number), {"number": number})
    assert list(remembered._memory._entries) == ["7", "8", "9"]

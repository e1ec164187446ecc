"""A new secret_key while people are logged in: nobody is thrown out, whichever process answers."""

from datetime import timedelta

import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from django.test import Client, override_settings
from django.utils import timezone

from accounts.models import Account
from accounts.sessions import UNDER_WAY

pytestmark = pytest.mark.django_db(databases="__all__")

FORMER, NEXT = "former-" + "k" * 40, "next-" + "k" * 40
BEFORE = override_settings(SECRET_KEY=FORMER, SECRET_KEY_FALLBACKS=[NEXT])
AFTER = override_settings(SECRET_KEY=NEXT, SECRET_KEY_FALLBACKS=[FORMER])


@pytest.fixture
def owner(account: Account) -> Client:
    client = Client()
    with BEFORE:
        assert client.login(username="owner@acme.test", password="secret")
    return client


def key(client: Client) -> str:
    return client.cookies[settings.SESSION_COOKIE_NAME].value


def serves(client: Client) -> bool:
    return client.get("/a/acme/").status_code == 200


def test_a_login_goes_from_one_key_to_the_other_and_back(owner: Client) -> None:
    for process in (BEFORE, AFTER, BEFORE, AFTER):
        with process:
            assert serves(owner)


def test_requests_that_were_under_way_are_answered_and_then_the_former_session_ends(
    owner: Client,
) -> None:
    other = Client()
    other.cookies[settings.SESSION_COOKIE_NAME] = key(owner)
    former = key(owner)
    with AFTER:
        assert serves(owner)
        assert key(owner) != former
        assert serves(other)
    left = Session.objects.get(session_key=former).expire_date - timezone.now()
    assert timedelta(0) < left <= UNDER_WAY


def test_a_former_session_s_end_is_not_put_off(owner: Client) -> None:
    former = key(owner)
    soon = timezone.now() + timedelta(seconds=20)
    Session.objects.filter(session_key=former).update(expire_date=soon)
    with AFTER:
        assert serves(owner)
    assert Session.objects.get(session_key=former).expire_date == soon


def test_without_the_former_key_everybody_logs_in_again(owner: Client) -> None:
    with override_settings(SECRET_KEY=NEXT, SECRET_KEY_FALLBACKS=[]):
        assert not serves(owner)


def test_a_session_whose_password_changes_ends_at_once(owner: Client, account: Account) -> None:
    other = Client()
    other.cookies[settings.SESSION_COOKIE_NAME] = key(owner)
    with AFTER:
        assert serves(owner)
        user = owner.get("/a/acme/").wsgi_request.user
        user.set_password("another")
        user.save()
        assert not serves(other)

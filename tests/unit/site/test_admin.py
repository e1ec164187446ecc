"""The staff's admin: every page of it, over two accounts of one shard."""

from typing import Any

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from accounts.models import Account, User
from assessments.models import Candidate, Test
from config.csp import POLICY
from routers import account_context
from routers.placement import is_sharded
from tests.unit.site.pages_support import invited, make_test, text_of

pytestmark = pytest.mark.django_db(databases="__all__")
CHOICE = "/admin/account/"
PAGES = ["changelist", "add"]
LOOKED_AT = ["task", "country"]  # come from the code


def models() -> list[Any]:
    return sorted(admin.site._registry, key=lambda model: model._meta.label)


@pytest.fixture
def staff(client: Client, account: Account) -> Client:
    client.force_login(User.objects.create_superuser("root@fulcrum.test", "secret"))
    return client


@pytest.fixture
def inside(staff: Client) -> Client:
    assert staff.post(CHOICE, {"account": "ACME", "next": "/admin/"})["Location"] == "/admin/"
    return staff


def address(model: Any, page: str, *args: object) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)


def test_the_models_are_there() -> None:
    labels = {model._meta.label for model in models()}
    assert {"accounts.Account", "accounts.User", "assessments.Test", "tasks.Task"} <= labels
    assert {"assessments.Candidate", "assessments.TestSession"} <= labels


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens_inside_an_account(inside: Client, account: Account, page: str) -> None:
    invited(account, make_test(account))
    for model in models():
        response = inside.get(address(model, page))
        wanted = 403 if model._meta.model_name in LOOKED_AT and page == "add" else 200
        assert response.status_code == wanted, model
        assert response["Content-Security-Policy"] == POLICY


def test_every_object_opens_inside_its_account(inside: Client, account: Account) -> None:
    session = invited(account, make_test(account))
    for row in (session, session.test, session.candidate, account):
        for page in ("change", "history"):
            assert inside.get(address(type(row), page, row.pk)).status_code == 200, row
    for found in ("TestSession", "Ada Marsh"):
        text_of(inside.get(address(type(session), "changelist"), {"q": found}))
    text_of(inside.get(address(type(session), "delete", session.pk)))


def test_without_an_account_only_the_shards_are_closed(staff: Client) -> None:
    for model in models():
        response = staff.get(address(model, "changelist"))
        if is_sharded(model):
            assert response["Location"].startswith(f"{CHOICE}?next=")
        else:
            assert response.status_code == 200, model


def test_an_account_is_chosen_from_the_list_of_accounts(staff: Client, account: Account) -> None:
    listed = text_of(staff.get(address(Account, "changelist")))
    assert f"{CHOICE}?account=acme&amp;next=%2Fadmin%2Fassessments%2Ftestsession%2F" in listed
    chooser = text_of(staff.get(CHOICE, {"account": "acme"}))
    assert 'value="acme"' in chooser
    assert "<option" in chooser
    assert staff.post(CHOICE, {"account": str(account.pk)})["Location"] == "/admin/"
    assert "There is no account" in text_of(staff.post(CHOICE, {"account": "nobody"}))


def test_another_accounts_session_does_not_exist(
    inside: Client, account: Account, other_account: Account
) -> None:
    theirs = invited(other_account, make_test(other_account), "Zoe Quill")
    invited(account, make_test(account))
    for page in ("change", "delete", "history"):
        assert inside.get(address(type(theirs), page, theirs.pk))["Location"] == "/admin/"
    assert "Zoe" not in text_of(inside.get(address(Candidate, "changelist")))
    assert inside.get(reverse("admin:autocomplete"), _autocomplete("Zoe")).json()["results"] == []


def _autocomplete(term: str) -> dict[str, str]:
    place = {"app_label": "assessments", "model_name": "testsession", "field_name": "candidate"}
    return {**place, "term": term}


def test_what_is_unique_in_an_account_is_checked_by_the_form(
    inside: Client, account: Account, other_account: Account
) -> None:
    make_test(account, "Screening")
    make_test(other_account, "Other")
    counts = {"TOTAL_FORMS": 0, "INITIAL_FORMS": 0}
    given = {f"test_tasks-{name}": count for name, count in counts.items()}
    given |= {"minutes": 60, "in_account": account.pk}
    given |= {"created_at_0": "2026-11-23", "created_at_1": "10:00:00"}
    add = address(Test, "add")
    assert "errorlist" in text_of(inside.post(add, {**given, "name": "Screening"}))
    assert inside.post(add, {**given, "name": "Other"})["Location"] == address(Test, "changelist")
    with account_context(account.pk):
        assert set(Test.objects.values_list("name", flat=True)) == {"Screening", "Other"}


def test_staff_who_are_no_superusers_see_no_account(client: Client, account: Account) -> None:
    User.objects.create_user("clerk@fulcrum.test", "secret", is_staff=True)
    client.force_login(User.objects.get(email="clerk@fulcrum.test"))
    assert "acme" not in text_of(client.get(CHOICE))
    assert "in which you may work" in text_of(client.post(CHOICE, {"account": "acme"}))


def test_members_are_no_staff(client: Client, account: Account) -> None:
    client.force_login(User.objects.get(email="owner@acme.test"))
    assert client.get("/admin/")["Location"].startswith("/admin/login/")


def test_a_user_is_made_and_changed(staff: Client) -> None:
    given = {"email": "New@Fulcrum.test", "usable_password": "true"}
    given |= {"password1": "long enough 1", "password2": "long enough 1"}
    given |= {"memberships-TOTAL_FORMS": "0", "memberships-INITIAL_FORMS": "0"}
    staff.post(address(User, "add"), given)
    user = User.objects.get(email="new@fulcrum.test")
    assert user.check_password("long enough 1")
    text_of(staff.get(address(User, "change", user.pk)))

"""The admin over two accounts of one shard: only the account filter keeps them apart."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib import admin
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path

from routers import SLOTS, account_context, current_account, shard_of
from routers.admin import SESSION_KEY, AccountAdminSite, AccountModelAdmin
from tests.unit.conftest import CONFIG
from tests.unit.routers.shop.models import Currency, Line, Order, Plan

MINE, THEIRS = 5, 5 + SLOTS
NAMES = {MINE: "Acme", THEIRS: "Basalt"}
CHOICE = "/admin/account/"


class Site(AccountAdminSite):
    """Two accounts; a superuser whose name is in `kept_out` may choose none."""

    def find_account(self, given: str) -> int | None:
        return {"acme": MINE, "basalt": THEIRS}.get(given)

    def describe_account(self, account_id: int) -> str | None:
        return NAMES.get(account_id)

    def suggest_accounts(self, request: HttpRequest) -> list[tuple[str, str]]:
        return [("acme", "Acme"), ("basalt", "Basalt")]


class LineInline(admin.TabularInline):
    model = Line
    extra = 1


@admin.action(description="Shout")
def shout(model_admin: Any, request: HttpRequest, orders: Any) -> None:
    for order in orders:
        order.title = order.title.upper()
        order.save()


class OrderAdmin(AccountModelAdmin):
    fields = ["title"]
    inlines = [LineInline]
    search_fields = ["title", "lines__amount"]
    ordering = ["-pk"]
    list_filter = ["currency"]
    list_display = ["title", "currency", "line_count"]
    actions = [shout]

    def line_count(self, order: Order) -> int:
        return order.lines.count()


class LineAdmin(AccountModelAdmin):
    list_filter = ["order"]


class AutocompletedLineAdmin(AccountModelAdmin):
    autocomplete_fields = ["order"]


site = Site()
site.register(Order, OrderAdmin)
site.register(Line, LineAdmin)
site.register(Currency, AccountModelAdmin)
site.register(Plan)
other_site = Site(name="other")
other_site.register(Order, OrderAdmin)
other_site.register(Line, AutocompletedLineAdmin)


def show_account(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(current_account()))


urlpatterns = [
    path("admin/", site.urls),
    path("other/", other_site.urls),
    path("custom/", site.admin_view(show_account)),
]
pytestmark = [
    pytest.mark.skipif(bool(CONFIG), reason="users: the catalog on PostgreSQL is the site suite's"),
    pytest.mark.django_db(databases="__all__"),
    pytest.mark.urls(__name__),
]


@pytest.fixture(autouse=True)
def _admin_settings(settings) -> None:  # noqa: ANN001
    settings.MIDDLEWARE = [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ]
    processors = [
        "django.template.context_processors.request",
        "django.contrib.auth.context_processors.auth",
        "django.contrib.messages.context_processors.messages",
    ]
    backend = "django.template.backends.django.DjangoTemplates"
    options = {"context_processors": processors}
    settings.TEMPLATES = [{"BACKEND": backend, "APP_DIRS": True, "OPTIONS": options}]
    settings.STATIC_URL = "/static/"
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def staff(client: Client) -> Client:
    """A superuser, logged in, without an account."""
    from django.contrib.auth.models import User

    client.force_login(User.objects.create_superuser("root", "root@example.org", "secret"))
    return client


@pytest.fixture
def inside(staff: Client) -> Client:
    """The same, in the first account."""
    choose(staff, "acme")
    return staff


@pytest.fixture
def orders() -> Iterator[dict[int, Order]]:
    """One order with a line in each account."""
    assert shard_of(MINE) == shard_of(THEIRS)
    made = {}
    for account, name in NAMES.items():
        with account_context(account):
            made[account] = Order.objects.create(title=f"Order of {name}")
            Line.objects.create(order=made[account], amount=account)
    yield made
    assert current_account() is None


def choose(client: Client, account: str, back_to: str = "") -> Any:
    return client.post(CHOICE, {"account": account, "next": back_to})


def text_of(response: Any) -> str:
    assert response.status_code == 200, (response.status_code, response.headers)
    return str(response.content.decode())


def page(row: Any, what: str = "change", at: str = "admin") -> str:
    return f"/{at}/shop/{row._meta.model_name}/{row.pk}/{what}/"


def titles(account: int) -> list[str]:
    with account_context(account):
        return sorted(Order.objects.values_list("title", flat=True))


# Choosing


@pytest.mark.parametrize("what", ["", "add/", "1/change/", "1/delete/", "1/history/"])
def test_a_sharded_page_asks_for_an_account_and_comes_back(
    staff: Client, orders: dict[int, Order], what: str
) -> None:
    address = f"/admin/shop/order/{what}"
    response = staff.get(f"{address}?x=1")
    assert response.status_code == 302
    assert response["Location"] == f"{CHOICE}?{urlencode({'next': f'{address}?x=1'})}"
    assert "datalist" in text_of(staff.get(response["Location"]))
    assert choose(staff, "acme", address)["Location"] == address


def test_global_and_reference_pages_need_no_account(staff: Client) -> None:
    Plan.objects.create(name="Team")
    Currency.objects.create(code="EUR", name="Euro")
    assert "Team" not in text_of(staff.get("/admin/"))
    assert "No account chosen" in text_of(staff.get("/admin/"))
    assert "Plan object" in text_of(staff.get("/admin/shop/plan/"))
    assert "Currency object" in text_of(staff.get("/admin/shop/currency/"))
    assert staff.post("/admin/shop/plan/add/", {"name": "New"})["Location"] == "/admin/shop/plan/"
    assert Plan.objects.filter(name="New").exists()


def test_the_account_is_shown_with_a_link_to_change_it(inside: Client) -> None:
    text = text_of(inside.get("/admin/shop/order/"))
    assert "Account <strong>Acme</strong>" in text
    assert f'href="{CHOICE}?next=%2Fadmin%2Fshop%2Forder%2F"' in text


def test_an_account_can_be_left(inside: Client) -> None:
    assert inside.post(CHOICE, {"leave": "1"})["Location"] == "/admin/"
    assert inside.get("/admin/shop/order/").status_code == 302


@pytest.mark.parametrize("given", ["nobody", "", "5"])
def test_what_is_no_account_is_refused(staff: Client, given: str) -> None:
    assert "errorlist" in text_of(choose(staff, given))
    assert SESSION_KEY not in staff.session


def test_only_who_may_can_choose(client: Client) -> None:
    from django.contrib.auth.models import User

    client.force_login(User.objects.create_user("clerk", password="secret", is_staff=True))
    assert "in which you may work" in text_of(choose(client, "acme"))
    assert SESSION_KEY not in client.session


def test_a_right_that_is_taken_away_takes_the_account_away(inside: Client) -> None:
    from django.contrib.auth.models import User

    User.objects.update(is_superuser=False)
    assert inside.get("/custom/").content == b"None"


def test_an_account_that_is_gone_is_chosen_anew(
    inside: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(NAMES, MINE)
    assert inside.get("/admin/shop/order/")["Location"].startswith(CHOICE)


def test_the_way_back_leads_nowhere_else(staff: Client) -> None:
    assert choose(staff, "acme", "https://evil.example/")["Location"] == "/admin/"


def test_who_is_no_staff_is_asked_to_log_in(client: Client) -> None:
    assert client.get(CHOICE)["Location"].startswith("/admin/login/")


def test_a_view_of_ones_own_runs_inside_the_account(inside: Client) -> None:
    assert inside.get("/custom/").content == b"5"
    assert current_account() is None


# Inside


def test_lists_searches_and_filters_hold_the_account_alone(
    inside: Client, orders: dict[int, Order]
) -> None:
    for query in ("", "?q=Order", f"?q={THEIRS}", "?o=1", "?all="):
        text = text_of(inside.get(f"/admin/shop/order/{query}"))
        assert "Basalt" not in text.replace("Basalt</option>", "")
        assert ("Order of Acme" in text) == (str(THEIRS) not in query)
    with account_context(MINE):
        Line.objects.create(order=Order.objects.create(title="a filter needs two"))
    lines = text_of(inside.get("/admin/shop/line/"))
    assert f"order__id__exact={orders[MINE].pk}" in lines
    assert f"{orders[THEIRS].pk}" not in lines


@pytest.mark.parametrize("what", ["change", "delete", "history"])
def test_another_accounts_object_does_not_exist(
    inside: Client, orders: dict[int, Order], what: str
) -> None:
    assert inside.get(page(orders[MINE], what)).status_code == 200
    response = inside.get(page(orders[THEIRS], what))
    assert (response.status_code, response["Location"]) == (302, "/admin/")
    response = inside.post(page(orders[THEIRS], what), {"post": "yes", "in_account": MINE})
    assert response.status_code in (302, 405)
    assert titles(THEIRS) == ["Order of Basalt"]


def test_a_row_is_added_changed_and_deleted(inside: Client, orders: dict[int, Order]) -> None:
    given = {**form("new"), "lines-0-amount": "7"}
    inside.post("/admin/shop/order/add/", given)
    assert titles(MINE) == ["Order of Acme", "new"]
    with account_context(MINE):
        new = Order.objects.get(title="new")
        assert [line.account_id for line in new.lines.all()] == [MINE]
    inside.post(page(new), form("newer"))
    assert titles(MINE) == ["Order of Acme", "newer"]
    history = text_of(inside.get(page(new, "history")))
    assert "Changed Title" in history
    assert "Line object" in text_of(inside.get(page(new, "delete")))
    inside.post(page(new, "delete"), {"post": "yes"})
    assert titles(MINE) == ["Order of Acme"]
    assert titles(THEIRS) == ["Order of Basalt"]


def test_another_accounts_row_is_no_choice(inside: Client, orders: dict[int, Order]) -> None:
    text = text_of(inside.get("/admin/shop/line/add/"))
    assert f'value="{orders[MINE].pk}"' in text
    assert f'value="{orders[THEIRS].pk}"' not in text
    given = {"order": orders[THEIRS].pk, "amount": 1, "in_account": MINE}
    assert "not one of the available choices" in text_of(
        inside.post("/admin/shop/line/add/", given)
    )


def test_autocomplete_finds_rows_of_the_account_alone(
    inside: Client, orders: dict[int, Order]
) -> None:
    query = {"app_label": "shop", "model_name": "line", "field_name": "order", "term": "Order"}
    found = inside.get("/other/autocomplete/", query).json()["results"]
    assert [row["id"] for row in found] == [str(orders[MINE].pk)]


def test_an_action_reaches_the_account_alone(inside: Client, orders: dict[int, Order]) -> None:
    both = [orders[MINE].pk, orders[THEIRS].pk]
    given = {"action": "shout", "_selected_action": both, "in_account": MINE}
    inside.post("/admin/shop/order/", {**given, "select_across": "1"})
    assert (titles(MINE), titles(THEIRS)) == (["ORDER OF ACME"], ["Order of Basalt"])
    given = {"action": "delete_selected", "_selected_action": both}
    confirmation = text_of(inside.post("/admin/shop/order/", given))
    assert f"Order object ({orders[MINE].pk})" in confirmation
    assert str(orders[THEIRS].pk) not in confirmation
    inside.post("/admin/shop/order/", {**given, "post": "yes"})
    assert (titles(MINE), titles(THEIRS)) == ([], ["Order of Basalt"])


# Two windows: the account is changed in one while a page of the other is open


def test_a_form_shown_for_another_account_is_refused(
    inside: Client, orders: dict[int, Order]
) -> None:
    shown = text_of(inside.get("/admin/shop/order/add/"))
    assert f'name="in_account" value="{MINE}"' in shown
    choose(inside, "basalt")
    response = inside.post("/admin/shop/order/add/", form("for Acme"), follow=True)
    assert "shown for another account" in text_of(response)
    assert (titles(MINE), titles(THEIRS)) == (["Order of Acme"], ["Order of Basalt"])


def test_all_rows_of_a_list_shown_for_another_account_are_left_alone(
    inside: Client, orders: dict[int, Order]
) -> None:
    assert f'name="in_account" value="{MINE}"' in text_of(inside.get("/admin/shop/order/"))
    choose(inside, "basalt")
    given = {"action": "shout", "_selected_action": [orders[MINE].pk], "select_across": "1"}
    inside.post("/admin/shop/order/", {**given, "in_account": MINE})
    assert (titles(MINE), titles(THEIRS)) == (["Order of Acme"], ["Order of Basalt"])


# Reference models


def test_reference_rows_are_changed_in_the_catalog_and_not_deleted(inside: Client) -> None:
    Currency.objects.using("default").create(code="EUR", name="Euro")
    address = "/admin/shop/currency/EUR/"
    inside.post(f"{address}change/", {"code": "EUR", "name": "Euro!"})
    assert Currency.objects.using("default").get().name == "Euro!"
    assert inside.get(f"{address}delete/").status_code == 403


def form(title: str) -> dict[str, str | int]:
    """An order's form, as it was shown in the first account."""
    counts = {"TOTAL_FORMS": 1, "INITIAL_FORMS": 0, "MIN_NUM_FORMS": 0, "MAX_NUM_FORMS": 1000}
    return {
        "title": title,
        "in_account": MINE,
        "lines-0-amount": "1",
        **{f"lines-{name}": count for name, count in counts.items()},
    }


def test_a_sharded_model_needs_the_admin_that_knows_accounts() -> None:
    with pytest.raises(ImproperlyConfigured, match="Line must be"):
        site.register(Line)
    with pytest.raises(ImproperlyConfigured, match="Line must be"):
        site.register([Line], admin.ModelAdmin)

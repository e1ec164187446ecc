"""A request or a task that a shard refused runs again, where that is safe."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from celery import Celery
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client
from django.test.utils import override_settings
from django.urls import path

from routers import ShardMap, account_atomic, account_context, shard_of
from routers.celery import AccountTask, carry_account
from routers.exceptions import AccountMoved, AccountMoving
from routers.ownership import changing
from routers.ownership.attempt import attempting, mark_done
from routers.ownership.guard import forget_answers
from routers.ownership.states import State
from routers.shard_map import SLOTS, use_map
from tests.unit.routers.shop.models import Order, Plan

ACCOUNT, SHARD, OTHER = 98_002, "shard01", "shard02"
VIEWS: dict[str, Callable[[], object]] = {}
on_postgresql = pytest.mark.skipif(
    connections[SHARD].vendor != "postgresql", reason="SQLite refuses nothing"
)
pytestmark = [
    pytest.mark.django_db(databases="__all__"),
    pytest.mark.urls(__name__),
]


def view(request: HttpRequest, account_slug: str, name: str) -> HttpResponse:
    VIEWS[name]()
    return HttpResponse(f"done on {shard_of(ACCOUNT)}")


urlpatterns = [path("<slug:account_slug>/<slug:name>", view)]


def account_of_slug(request: HttpRequest, slug: str) -> int:
    return ACCOUNT


@pytest.fixture(autouse=True)
def project(settings: Any) -> Iterator[None]:
    """The account is on shard01 by the map; refusals are waited for as long as it takes."""
    resolver = f"{__name__}.account_of_slug"
    changed = {"ACCOUNT_FROM_SLUG": resolver, "MOVING_SECONDS": 60}
    with override_settings(SHARDING={**settings.SHARDING, **changed}):
        use_map(ShardMap((SHARD,) * SLOTS))
        forget_answers()
        yield
    forget_answers()


@pytest.fixture
def impatient(project: None, settings: Any) -> Iterator[None]:
    with override_settings(SHARDING={**settings.SHARDING, "MOVING_SECONDS": 0.1}):
        yield


class Refusing:
    """Work that is refused so many times, and counts its runs."""

    def __init__(self, times: int, error: Exception | None = None) -> None:
        self.times, self.runs = times, 0
        self.error = error or AccountMoving(ACCOUNT, SHARD, "account is being moved")

    def __call__(self) -> None:
        self.runs += 1
        if self.runs <= self.times:
            raise self.error


def test_a_request_waits_for_a_move(client: Client) -> None:
    VIEWS["get"] = work = Refusing(2)
    assert client.get("/acme/get").content == b"done on shard01"
    assert work.runs == 3


def test_a_request_goes_where_the_account_went(client: Client) -> None:
    VIEWS["get"] = work = Refusing(1, AccountMoved(ACCOUNT, SHARD, "account has moved", OTHER))
    assert client.get("/acme/get").content == b"done on shard02"
    assert work.runs == 2


def test_an_asynchronous_request_waits_too() -> None:
    VIEWS["get"] = work = Refusing(2)
    response = async_to_sync(AsyncClient().get)("/acme/get")
    assert (response.content, work.runs) == (b"done on shard01", 3)


def test_a_request_says_try_again_when_the_time_is_over(impatient: None, client: Client) -> None:
    VIEWS["get"] = work = Refusing(10**9)
    response = client.get("/acme/get")
    assert (response.status_code, response["Retry-After"]) == (503, "1")
    assert work.runs > 1


def test_the_projects_page_says_so_where_it_has_one(impatient: None, client: Client) -> None:
    VIEWS["get"] = Refusing(10**9)
    page = {"routers/moving.html": "<h1>Moving, at {{ request.path }}</h1>"}
    loaders = [("django.template.loaders.locmem.Loader", page)]
    context = ["django.template.context_processors.request"]
    engine = {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "OPTIONS": {"loaders": loaders, "context_processors": context},
    }
    assert client.get("/acme/get")["Content-Type"] == "text/plain"
    with override_settings(TEMPLATES=[engine]):
        response = client.get("/acme/get")
    assert (response.status_code, response["Retry-After"]) == (503, "1")
    assert response["Content-Type"] == "text/html; charset=utf-8"
    assert response.content == b"<h1>Moving, at /acme/get</h1>"


def test_a_post_that_has_left_nothing_runs_again(client: Client) -> None:
    VIEWS["post"] = work = Refusing(1)
    assert client.post("/acme/post", {"a": "b"}).status_code == 200
    assert work.runs == 2


def test_a_post_that_has_left_something_does_not(client: Client) -> None:
    refusing = Refusing(1)

    def work() -> None:
        mark_done()
        refusing()

    VIEWS["post"] = work
    assert client.post("/acme/post").status_code == 503
    assert refusing.runs == 1
    assert client.post("/acme/post").status_code == 200


def test_other_errors_are_raised(client: Client) -> None:
    VIEWS["get"] = Refusing(1, ValueError("a mistake"))
    with pytest.raises(ValueError, match="a mistake"):
        client.get("/acme/get")


def moved() -> None:
    """Commit nothing: within the test's transaction, the account leaves shard01 for shard02."""
    with connections[SHARD].cursor() as cursor:
        changing.set_account(cursor, ACCOUNT, State.MOVED, OTHER)


@on_postgresql
def test_a_stale_write_lands_on_the_new_shard_once(client: Client) -> None:
    moved()

    def work() -> None:
        with account_atomic():
            Order.objects.create(title="posted")

    VIEWS["post"] = work
    assert client.post("/acme/post").content == b"done on shard02"
    with account_context(ACCOUNT):
        assert [order.title for order in Order.objects.all()] == ["posted"]
        assert Order.objects.db == OTHER


@on_postgresql
@pytest.mark.parametrize("way", ["catalog", "committed before"])
def test_what_wrote_elsewhere_before_is_not_run_again(client: Client, way: str) -> None:
    def work() -> None:
        if way == "catalog":
            Plan.objects.create(name="before")
        else:
            with account_atomic():
                Order.objects.create(title="before")
            moved()
        Order.objects.create(title="after")

    VIEWS["post"] = work
    if way == "catalog":
        moved()
    assert client.post("/acme/post").status_code == 503


@on_postgresql
def test_a_read_refused_after_a_write_that_was_kept_leaves_something() -> None:
    with account_context(ACCOUNT), attempting() as attempt:
        Order.objects.create(title="kept")
        moved()
        forget_answers()
        with pytest.raises(AccountMoved), transaction.atomic(using=SHARD):
            Order.objects.count()
    assert not attempt.left_nothing


@pytest.fixture
def app() -> Celery:
    carry_account()
    app = Celery("again", task_cls=AccountTask, set_as_current=False)
    app.conf.task_always_eager = app.conf.task_eager_propagates = True
    return app


def test_a_task_runs_again(app: Celery) -> None:
    refusing = Refusing(2)

    def work() -> None:
        refusing()

    with account_context(ACCOUNT):
        app.task(work, name="again", shared=False).delay().get()
    assert refusing.runs == 3


@pytest.mark.parametrize("idempotent", [True, False])
def test_a_task_that_left_something_runs_again_where_it_says_so(
    app: Celery, idempotent: bool
) -> None:
    refusing = Refusing(1)

    def work() -> None:
        mark_done()
        refusing()

    task = app.task(work, name="left", shared=False, idempotent=idempotent)
    if idempotent:
        task.delay().get()
    else:
        with pytest.raises(AccountMoving):
            task.delay().get()
    assert refusing.runs == 1 + idempotent

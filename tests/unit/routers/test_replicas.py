"""The rules of a unit of work.

What is told to Redis is written into a list, and a position is a number that grows. A real replica
and a real Redis: tests/cluster/test_replicas_reads.py.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from contextvars import copy_context
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery, signals
from celery.app.task import Context
from django.conf import settings as django_settings
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory, override_settings
from django.urls import path

from routers import account_atomic, account_context, all_accounts, celery
from routers.celery import HEADER, carry_account
from routers.replicas import positions, units, visitor, written
from routers.replicas.reads import _bring_home
from routers.transactions import account_on_commit
from tests.unit.routers.shop.models import Line, Order
from tests.unit.routers.urls import urlpatterns as shown

pytestmark = [
    pytest.mark.django_db(databases="__all__", transaction=True),
    pytest.mark.skipif(
        connections["default"].vendor == "postgresql",
        reason="emptying tables needs their owner; PostgreSQL's own: test_replicas_reads.py",
    ),
]
HOME = {1: "shard02"}  # of account 1, by the even map
REPLICA = "shard02_replica"
WITH_REPLICAS = django_settings.SHARDING | {
    "REPLICAS": {"shard02": [REPLICA]},
    "REPLICA_REDIS": "redis://127.0.0.1:1/0",  # nobody is there
}


def order(request: HttpRequest, account_slug: str) -> HttpResponse:
    if request.method == "POST":
        Order.objects.create(title="by a visitor")
    return HttpResponse(str(Order.objects.count()))


urlpatterns = [*shown, path("o/<slug:account_slug>/", order)]


@pytest.fixture(autouse=True)
def with_replicas() -> Iterator[None]:
    with override_settings(SHARDING=WITH_REPLICAS):
        yield
    units.served.clear()


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What Redis is told: "begin NAME" and "finish NAME POSITION"."""
    said: list[str] = []
    numbers = count(1)
    monkeypatch.setattr(written, "begin", lambda name, token: said.append(f"begin {name}"))
    monkeypatch.setattr(
        written, "finish", lambda name, token, lsn: said.append(f"finish {name} {int(lsn, 16)}")
    )
    monkeypatch.setattr(positions, "current", lambda primary: f"{next(numbers):016X}")
    return said


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis knows a position, and the replica has reached it."""
    monkeypatch.setattr(written, "look", lambda names: written.Seen("known", "0" * 16, 1))
    monkeypatch.setattr(positions, "has_reached", lambda replica, lsn: True)


def chosen() -> units.Choice:
    return units.reading_from(HOME[1], 1)


def test_a_unit_reads_from_a_replica_that_has_caught_up(known: None) -> None:
    with account_context(1):
        assert (chosen().alias, chosen().why) == (REPLICA, "caught up")


def test_outside_of_a_unit_and_for_all_accounts_it_is_the_primary(known: None) -> None:
    assert chosen().why == "no unit"
    with all_accounts("shard02"):
        assert Order.objects.all().db == "shard02"


def test_without_redis_it_is_the_primary_and_nothing_fails() -> None:
    with account_context(1):
        Order.objects.create(title="one")
    with account_context(1):
        assert Order.objects.get().title == "one"
        assert chosen().why == "redis"


def test_without_replicas_there_are_no_units() -> None:
    without = django_settings.SHARDING | {"REPLICAS": {}}
    with override_settings(SHARDING=without), account_context(1):
        assert units.current_unit() is None


def test_reads_can_be_switched_off_and_writes_are_still_told(known: None, told: list[str]) -> None:
    with override_settings(SHARDING=WITH_REPLICAS | {"REPLICA_READS": False}), account_context(1):
        assert chosen().why == "off"
        Order.objects.create(title="one")
    assert told == ["begin shard02:1", "finish shard02:1 1"]


def rename() -> None:
    with connections[HOME[1]].cursor() as cursor:
        cursor.execute("UPDATE shop_order SET title = 'by hand' WHERE account_id = 1")


def write(how: str) -> None:
    match how:
        case "create":
            Order.objects.create(title="two")
        case "save":
            Order(title="two").save()
        case "update":
            Order.objects.update(title="two")
        case "delete":
            Order.objects.all().delete()
        case "bulk_create":
            Order.objects.bulk_create([Order(title="two")])
        case "get_or_create":
            Order.objects.get_or_create(title="two")
        case "own SQL":
            with account_atomic():
                rename()
        case "lock":
            with account_atomic():
                list(Order.objects.select_for_update())
        case "mark":
            units.mark_written()


WAYS = (
    "create",
    "save",
    "update",
    "delete",
    "bulk_create",
    "get_or_create",
    "own SQL",
    "lock",
    "mark",
)


@pytest.mark.parametrize("how", WAYS)
def test_whatever_writes_reads_from_the_primary_and_tells(
    how: str, known: None, told: list[str]
) -> None:
    with account_context(1):
        assert chosen().alias == REPLICA
        write(how)
        assert chosen().why == "written"
        assert told[0] == "begin shard02:1"
    assert told[-1].startswith("finish shard02:1 ")
    with account_context(1):
        assert chosen().alias == REPLICA


def test_inside_a_transaction_it_is_the_primary(known: None) -> None:
    with account_context(1), account_atomic():
        assert chosen().why == "transaction"


def test_a_commit_is_recorded_before_the_callbacks_that_were_there_first(told: list[str]) -> None:
    with account_context(1), account_atomic():
        account_on_commit(lambda: told.append("callback"))
        Order.objects.create(title="one")
        Order.objects.create(title="two")
        assert told == ["begin shard02:1"]
    assert told == ["begin shard02:1", "finish shard02:1 1", "callback"]


def write_and_roll_back() -> None:
    with account_atomic():
        Order.objects.create(title="one")
        transaction.set_rollback(True, using="shard02")


def test_a_savepoint_that_is_rolled_back_does_not_take_the_recording_along(told: list[str]) -> None:
    with account_context(1), account_atomic():
        write_and_roll_back()
        Order.objects.create(title="two")
        assert connections["shard02"].run_on_commit
    assert told == ["begin shard02:1", "finish shard02:1 1"]


def test_a_rollback_takes_the_token_away_at_the_end(told: list[str]) -> None:
    with account_context(1):
        write_and_roll_back()
        assert told == ["begin shard02:1"]
    assert told[1:] == ["finish shard02:1 1"]


def test_a_unit_that_ends_inside_a_transaction_is_recorded_at_its_commit(told: list[str]) -> None:
    with transaction.atomic(using="shard02"):
        with account_context(1):
            Order.objects.create(title="one")
        assert told == ["begin shard02:1"]
    assert told[1:] == ["finish shard02:1 1"]


def test_own_sql_in_a_block_inside_a_transaction_is_recorded_at_its_commit(told: list[str]) -> None:
    with account_context(1), transaction.atomic(using="shard02"):
        write("own SQL")
        assert told == ["begin shard02:1"]
        write("own SQL")
    assert told == ["begin shard02:1", "finish shard02:1 1"]


def test_a_block_that_is_rolled_back_has_written_nothing(known: None, told: list[str]) -> None:
    with account_context(1):
        with suppress(ValueError), account_atomic():
            rename()
            raise ValueError
        with account_atomic():
            rename()
            transaction.set_rollback(True, using="shard02")
        assert chosen().alias == REPLICA
    assert told == []


def test_work_on_all_accounts_counts_for_each(told: list[str]) -> None:
    with all_accounts("shard02"):
        Order.objects.update(title="all")
    assert told == ["begin shard02:*", "finish shard02:* 1"]


def test_a_shard_without_replicas_tells_nothing(told: list[str]) -> None:
    with account_context(2):
        Order.objects.create(title="one")
    assert told == []


def test_nested_contexts_are_one_unit(known: None, told: list[str]) -> None:
    with account_context(1):
        with account_context(2):
            Order.objects.create(title="on shard03")
            write("mark")
        assert chosen().alias == REPLICA  # shard03 has no replica: nobody was told
        with account_context(4):  # shard02's too
            write("mark")
        assert chosen().why == "written"


def test_primary_only(known: None) -> None:
    with account_context(1):
        with units.primary_only():
            assert chosen().why == "asked"
        assert chosen().alias == REPLICA


def test_an_event_loop_is_not_held_up(known: None) -> None:
    async def inside() -> str:
        with account_context(1):
            return chosen().why

    assert asyncio.run(inside()) == "event loop"


def test_the_position_of_a_replica_is_never_taken_from_another_engine() -> None:
    assert positions._replayed("shard02") == ""


def test_rows_and_what_came_with_them_are_of_the_primary() -> None:
    with account_context(1):
        line = Line(order=Order(title="one"))
    line._state.db = line.order._state.db = REPLICA
    _bring_home(line)
    assert (line._state.db, line.order._state.db) == ("shard02", "shard02")


# Celery tasks. Eager outside of any unit, a task begins its own, as in a worker.


@pytest.fixture
def task() -> Callable[..., Any]:
    """Makes a function a task, and runs it for account 1: `task(function, **headers)`."""
    app = Celery("replicas", broker="memory://", set_as_current=False)
    carry_account()

    def run(function: Callable[[], Any], **headers: Any) -> Any:
        headers = {HEADER: {"account_id": 1, "shard": None}, **headers}
        return app.task(function, name=function.__name__).apply(headers=headers, throw=True).get()

    return run


def test_a_task_is_one_unit(known: None, task: Callable[..., Any]) -> None:
    def read() -> tuple[str, bool, units.Unit | None]:
        unit = units.current_unit()
        with account_context(1):
            return chosen().why, unit is units.current_unit(), unit

    why, same, unit = task(read)
    assert (why, same) == ("caught up", True)
    assert units.current_unit() is None
    assert task(read)[2] is not unit


def test_a_tasks_write_is_settled_at_its_end(
    known: None, told: list[str], task: Callable[..., Any]
) -> None:
    def store() -> str:
        Order.objects.create(title="by a task")
        assert told == ["begin shard02:1"]
        return chosen().why

    assert task(store) == "written"
    assert told == ["begin shard02:1", "finish shard02:1 1"]


def test_a_task_that_fails_settles_what_it_wrote(told: list[str], task: Callable[..., Any]) -> None:
    def store() -> None:
        Order.objects.create(title="by a task")
        raise ValueError("after the write")

    with pytest.raises(ValueError, match="after the write"):
        task(store)
    assert told == ["begin shard02:1", "finish shard02:1 1"]
    assert units.current_unit() is None


def test_an_eager_task_is_part_of_its_callers_unit(
    known: None, told: list[str], task: Callable[..., Any]
) -> None:
    with account_context(1):
        task(write_by_task)
        assert chosen().why == "written"
        assert told == ["begin shard02:1"]
    assert told[1:] == ["finish shard02:1 1"]


def write_by_task() -> None:
    Order.objects.create(title="by a task")


def test_a_worker_begins_anew_whatever_was_left_behind(task: Callable[..., Any]) -> None:
    request = Context(headers={HEADER: None})

    def begin() -> None:
        left = units.begin()
        celery._begin(SimpleNamespace(request=request))
        assert units.current_unit() not in (None, left)
        celery._end(SimpleNamespace(request=request))
        assert units.current_unit() is None

    copy_context().run(begin)


def test_what_the_sender_has_written_is_asked_of_the_replica(
    told: list[str], task: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the request to its task, and on to what that task sends."""
    asked: list[str] = []
    monkeypatch.setattr(written, "look", lambda names: written.Seen("known", "0" * 16, 1))
    monkeypatch.setattr(positions, "has_reached", lambda replica, lsn: asked.append(lsn))

    def send() -> dict[str, Any]:
        headers: dict[str, Any] = {}
        signals.before_task_publish.send("any", headers=headers)
        return headers

    def read() -> dict[str, Any]:
        chosen()
        return send()

    with account_context(1):
        write("mark")
        assert celery.POSITIONS not in send()
        with account_atomic():
            write("create")
        headers = send()
    assert headers[celery.POSITIONS] == {"shard02:1": f"{1:016X}"}
    assert task(read, **headers) == headers
    task(read)
    task(read, **{celery.POSITIONS: {"shard02:1": "no position"}})
    assert asked == [f"{1:016X}", "0" * 16, "0" * 16]


@override_settings(ROOT_URLCONF=__name__)
def test_a_cookie_is_set_after_a_write_alone(told: list[str]) -> None:
    client = Client()
    assert client.get("/o/acme/").cookies == {}
    cookie = client.post("/o/acme/").cookies[visitor.COOKIE]
    assert (cookie["max-age"], cookie["httponly"], cookie["samesite"]) == (60, True, "Lax")
    assert client.get("/o/acme/").cookies == {}


@override_settings(ROOT_URLCONF=__name__)
def test_what_a_visitor_brings_is_asked_of_the_replica(
    told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(written, "look", lambda names: written.Seen("known", "0" * 16, 1))
    monkeypatch.setattr(positions, "has_reached", lambda replica, lsn: asked.append(lsn))
    client = Client()
    client.post("/o/acme/")
    client.get("/o/acme/")
    client.cookies[visitor.COOKIE] = "forged"
    client.get("/o/acme/")
    assert asked == [f"{1:016X}", "0" * 16]


def test_a_cookie_stays_small() -> None:
    unit: Any = units.Unit()
    unit.recorded = {f"shard02:{number}": f"{number:016X}" for number in range(1000)}
    response = visitor.keep(HttpResponse(), unit)
    request = RequestFactory().get("/")
    request.COOKIES[visitor.COOKIE] = response.cookies[visitor.COOKIE].value
    assert list(visitor._brought(request)) == [f"shard02:{number}" for number in range(980, 1000)]


@pytest.mark.parametrize(
    ("text", "lsn"),
    [("0/0", "0" * 16), ("1/2A", "000000010000002A"), ("F/FFFFFFFF", "0000000FFFFFFFFF")],
)
def test_positions_compare_as_strings(text: str, lsn: str) -> None:
    assert positions._lsn(text) == lsn
    assert positions.pg_lsn(lsn) == text
    assert positions.is_lsn(lsn)
    assert not positions.is_lsn(text)

"""Shards read in parallel, each on a connection of its own: PostgreSQL, with real commits.

SQLite has no part in this: a database in memory belongs to one thread, and the caller reads it.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import pytest
from django.db import DatabaseError, connections, models, transaction
from django.db.models import Case, Func, Value, When

from routers import account_context, all_accounts, shard_of
from routers.exceptions import ShardUnavailable
from routers.fanout import read_only, shard_reads
from routers.fanout.fan_out import fan_out
from routers.keys import NextKey
from tests.unit.routers.shop.models import Line, Order

pytestmark = pytest.mark.skipif(
    connections["shard01"].vendor != "postgresql", reason="SQLite is read by the calling thread"
)

SHARDS = ("shard01", "shard02", "shard03")
ROWS = 300  # on each shard
DEADLINE_SECONDS = 60
PATIENCE_SECONDS = 5.0  # of a fan-out for a shard: those that answer may be slow


@pytest.fixture
def accounts(django_db_setup: None, django_db_blocker: Any) -> Iterator[dict[str, int]]:
    """Shard → its account, which has `ROWS` orders, committed."""
    with django_db_blocker.unblock():
        found: dict[str, int] = {}
        for account in range(1, 5000):
            found.setdefault(shard_of(account), account)
        clear()
        for account in found.values():
            with account_context(account):
                Order.objects.bulk_create(Order(title=f"{n:03}") for n in range(ROWS))
        strangers.clear()
        strangers.update(busy())
        yield found
        clear()
        connections.close_all()


def clear() -> None:
    for alias in SHARDS:
        with connections[alias].cursor() as cursor:
            cursor.execute("DELETE FROM shop_line")
            cursor.execute("DELETE FROM shop_order")


class Sleep(Func):
    """pg_sleep: void, so it is compared with nothing to have a type."""

    function = "pg_sleep"
    template = "(%(function)s(%(expressions)s) IS NULL)"
    output_field = models.BooleanField()


def slow_on(account: int, seconds: float = 60) -> Any:
    """Orders, each of which takes that long on the account's shard."""
    slow = When(account_id=account, then=Sleep(Value(seconds)))
    return Order.objects.annotate(slow=Case(slow, default=Value(False)))


def until(what: Callable[[], bool]) -> None:
    """Wait for it, until the deadline."""
    end = time.monotonic() + DEADLINE_SECONDS
    while not what():
        assert time.monotonic() < end, "not before the deadline"
        time.sleep(0.02)


Backend = tuple[str, int, Any]  # the shard, the process, and when its transaction began
strangers: dict[Backend, str] = {}
"""Busy when the test began: a query whose client broke it off runs on, for as long as it takes."""


def busy() -> dict[Backend, str]:
    """The application's backends that do something or are in a transaction → what they do."""
    found: dict[Backend, str] = {}
    for alias in SHARDS:
        with connections[alias].cursor() as cursor:
            cursor.execute(
                "SELECT pid, xact_start, state || ': ' || query FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid()"
                " AND datname = current_database() AND usename = current_user"
                " AND backend_type = 'client backend' AND state <> 'idle'"
            )
            found |= {(alias, pid, began): what for pid, began, what in cursor.fetchall()}
    return found


def at_work() -> list[str]:
    """The threads and transactions that a fan-out of this test has left behind."""
    idle = {t for pools in shard_reads._idle.values() for pool in pools for t in pool._threads}
    threads = set(threading.enumerate()) - idle
    left = [thread.name for thread in threads if thread.name.startswith("fan-out")]
    return left + [what for backend, what in busy().items() if backend not in strangers]


def nothing_is_left() -> bool:
    return not at_work()


@contextmanager
def elsewhere(alias: str, port: int) -> Iterator[None]:
    """The shard's server is at another port."""
    given = connections[alias].settings_dict
    before = given["HOST"], given["PORT"]
    given["HOST"], given["PORT"] = "127.0.0.1", port
    try:
        yield
    finally:
        given["HOST"], given["PORT"] = before


def held_port(closed: socket.socket) -> int:
    """A port on which nobody listens, and nobody can while the socket is open."""
    closed.bind(("127.0.0.1", 0))
    port: int = closed.getsockname()[1]
    return port


class Wire:
    """A way to a server that can freeze: it stays open, and nothing comes through any more."""

    def __init__(self, host: str, port: int) -> None:
        self.target, self.frozen = (host, port), threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.open: list[socket.socket] = [self.listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.create_connection(self.target)
            self.open += [near, far]
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    def _pump(self, one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(65536):
                if not self.frozen.is_set():
                    other.sendall(data)
            other.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def close(self) -> None:
        for each in self.open:
            with suppress(OSError):  # who waits in recv() is woken by this, and not by close()
                each.shutdown(socket.SHUT_RDWR)
            each.close()


def test_every_shard_has_a_connection_of_its_own(accounts: dict[str, int]) -> None:
    pid = Func(function="pg_backend_pid", output_field=models.IntegerField())
    reader = Func(
        Value("transaction_read_only"),
        function="current_setting",
        output_field=models.TextField(),
    )
    query = Order.objects.annotate(pid=pid, read_only=reader)
    with all_accounts("shard01"):
        mine = query[0].pid
        assert query[0].read_only == "off"
    rows = list(fan_out(query))
    assert len(rows) == 3 * ROWS
    assert {row.read_only for row in rows} == {"on"}
    assert mine in {row.pid for row in rows} or len({row.pid for row in rows}) == 3
    until(nothing_is_left)


def test_a_small_read_is_one_message_and_begins_no_transaction(
    accounts: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What makes it read-only and bounded is sent with it, and nothing after it."""
    setting = {
        name: Func(Value(name), function="current_setting", output_field=models.TextField())
        for name in ("transaction_read_only", "statement_timeout")
    }
    begun: list[str] = []
    monkeypatch.setattr(read_only.ApartConnection, "_begin", lambda *args: begun.append("step"))
    with all_accounts():
        query = Order.objects.order_by("title").prefetch_related(
            models.Prefetch("lines", Line.objects.annotate(**setting))
        )
    for account in accounts.values():
        with account_context(account):
            Line.objects.create(order=Order.objects.get(title="000"), amount=1)
    rows = list(fan_out(query.annotate(**setting), timeout=7)[:6])
    found = [*rows, *(line for row in rows for line in row.lines.all())]
    assert len(found) == 6 + 3
    assert {(row.transaction_read_only, row.statement_timeout) for row in found} == {("on", "7s")}
    assert begun == []
    with connections["shard01"].cursor() as cursor:  # of the pooler: one that it has read with
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() != ("7s",)


def test_merged_streams_over_few_threads(accounts: dict[str, int]) -> None:
    rows = fan_out(Order.objects.order_by("title", "account_id"), jobs=1).iterator(chunk_size=7)
    found = [(row.title, row.account_id) for row in rows]
    assert found == sorted(
        (f"{n:03}", account) for n in range(ROWS) for account in accounts.values()
    )


def test_memory_does_not_grow_with_the_result(
    accounts: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    build = Order.from_db

    def note(*args: Any) -> Any:
        made.append(1)
        return build(*args)

    monkeypatch.setattr(Order, "from_db", note)
    with closing(fan_out(Order.objects.order_by("title")).iterator(chunk_size=10)) as rows:
        next(rows)
        assert len(made) <= 3 * 2 * 10
        for _ in range(100):
            next(rows)
        assert len(made) <= 101 + 3 * 2 * 10


ORDERS: Any = pytest.mark.parametrize("order", [("title",), ()], ids=["ordered", "arriving"])


@ORDERS
@pytest.mark.parametrize("leave", ["close", "raise", "break", "forget"])
def test_an_abandoned_iteration_leaves_nothing(
    accounts: dict[str, int], order: tuple[str, ...], leave: str
) -> None:
    rows = fan_out(Order.objects.order_by(*order)).iterator(chunk_size=10)
    next(rows)
    if leave == "close":
        rows.close()
    elif leave == "raise":
        with pytest.raises(ZeroDivisionError):
            rows.throw(ZeroDivisionError)
    elif leave == "break":
        for _ in rows:
            break
    del rows
    until(nothing_is_left)


def test_leaving_stops_a_query_that_runs(accounts: dict[str, int]) -> None:
    slow = accounts["shard02"]
    began = time.monotonic()
    with closing(fan_out(slow_on(slow)).iterator()) as rows:
        assert next(rows).account_id != slow
    assert fan_out(slow_on(slow)).exists()
    until(nothing_is_left)
    assert time.monotonic() - began < 30  # the query alone takes hours


def test_an_error_on_one_shard_stops_the_others(accounts: dict[str, int]) -> None:
    wrong = When(account_id=accounts["shard03"], then=1 / (models.F("account_id") * 0))
    query = slow_on(accounts["shard02"]).annotate(x=Case(wrong, default=Value(1)))
    with pytest.raises(DatabaseError, match="division by zero") as caught:
        list(fan_out(query))
    assert caught.value.__notes__ == ["This was on shard03."]
    until(nothing_is_left)


def test_a_shard_that_is_too_slow(accounts: dict[str, int]) -> None:
    query = slow_on(accounts["shard02"])
    with pytest.raises(ShardUnavailable, match=r"shard02 did not answer: .*statement timeout"):
        list(fan_out(query, timeout=PATIENCE_SECONDS))
    rest = fan_out(query, timeout=PATIENCE_SECONDS, missing="skip")
    assert len(list(rest)) == 2 * ROWS
    assert list(rest.missing) == ["shard02"]
    assert "statement timeout" in str(rest.missing["shard02"])
    until(nothing_is_left)


def test_a_shard_whose_server_is_down(accounts: dict[str, int]) -> None:
    with socket.socket() as closed, elsewhere("shard02", held_port(closed)):
        with pytest.raises(ShardUnavailable, match=r"shard02 .*refused.*shards status") as caught:
            fan_out(Order.objects.all()).count()
        assert caught.value.shard == "shard02"
        rest = fan_out(Order.objects.order_by("title"), missing="skip")
        assert rest.count() == 2 * ROWS
        assert set(rest.missing) == {"shard02"}
        assert [row.title for row in rest[:4]] == ["000", "000", "001", "001"]
        assert rest.aggregate(models.Count("id")) == {"id__count": 2 * ROWS}
        rest.exists()
    assert rest.count() == 3 * ROWS
    assert rest.missing == {}


def test_a_server_that_accepts_and_says_nothing(accounts: dict[str, int]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with elsewhere("shard02", listener.getsockname()[1]):
            rest = fan_out(Order.objects.all(), timeout=PATIENCE_SECONDS, missing="skip")
            assert rest.count() == 2 * ROWS
        assert list(rest.missing) == ["shard02"]
    until(nothing_is_left)


def test_a_server_that_freezes_between_rows(accounts: dict[str, int]) -> None:
    given = connections["shard02"].settings_dict
    line = Wire(given["HOST"], int(given["PORT"]))
    query, patience = Order.objects.order_by("title", "account_id"), 120
    try:
        with elsewhere("shard02", line.port):
            rest = fan_out(query, timeout=PATIENCE_SECONDS, missing="skip")
            rows = rest.iterator(chunk_size=20)
            first = [next(rows) for _ in range(3)]
            line.frozen.set()
            found = first + list(rows)
            assert list(rest.missing) == ["shard02"]
            assert "after " in str(rest.missing["shard02"])
            assert 2 * ROWS < len(found) <= 2 * ROWS + 60
            line.frozen.clear()
            rows = fan_out(query, timeout=patience).iterator(chunk_size=20)
            next(rows)
            line.frozen.set()
            began = time.monotonic()
            rows.close()
            assert time.monotonic() - began < patience / 2
    finally:
        line.close()
    until(nothing_is_left)


def test_a_frozen_server_keeps_no_other_fan_out_waiting(accounts: dict[str, int]) -> None:
    """Ten at once, of which each waits its own time for the frozen shard: all at the same time."""
    at_once, counts = 10, []
    given = connections["shard02"].settings_dict
    line = Wire(given["HOST"], int(given["PORT"]))

    def read() -> None:
        rest = fan_out(Order.objects.all(), timeout=PATIENCE_SECONDS, missing="skip")
        counts.append((rest.count(), list(rest.missing)))

    line.frozen.set()
    readers = [threading.Thread(target=read) for _ in range(at_once)]
    began = time.monotonic()
    try:
        with elsewhere("shard02", line.port):
            for reader in readers:
                reader.start()
            for reader in readers:
                reader.join(DEADLINE_SECONDS)
        assert counts == [(2 * ROWS, ["shard02"])] * at_once
        assert time.monotonic() - began < at_once * PATIENCE_SECONDS / 2
        assert fan_out(Order.objects.all()).count() == 3 * ROWS  # of threads that are free again
    finally:
        line.close()
    until(nothing_is_left)


def test_idle_threads_are_used_again_and_few_are_kept(accounts: dict[str, int]) -> None:
    jobs = 5  # a number that no other test has
    seen: set[threading.Thread] = set()
    for _ in range(3):
        assert fan_out(Order.objects.all(), jobs=jobs).count() == 3 * ROWS
        seen |= {thread for pool in shard_reads._idle[jobs] for thread in pool._threads}
    assert 1 <= len(seen) <= jobs
    begun = [fan_out(Order.objects.all(), jobs=jobs).iterator(chunk_size=10) for _ in range(4)]
    for rows in begun:
        next(rows)
    for rows in begun:
        rows.close()
    assert len(shard_reads._idle[jobs]) == shard_reads.IDLE_POOLS
    until(nothing_is_left)


@pytest.mark.parametrize("inside", [False, True], ids=["apart", "in a transaction"])
def test_a_function_that_writes_fails(accounts: dict[str, int], inside: bool) -> None:
    query = Order.objects.annotate(key=NextKey())
    with transaction.atomic(using="shard01"):
        if not inside:
            transaction.get_connection("shard02")  # no transaction is open there
        begun = query.filter(account_id=accounts["shard01" if inside else "shard02"])
        with pytest.raises(DatabaseError, match=r"nextval\(\) in a read-only transaction"):
            list(fan_out(begun))
        if inside:
            with account_context(accounts["shard01"]):
                Order.objects.create(title="its transaction can be written after that")


def test_own_writes_are_seen_beside_other_shards(accounts: dict[str, int]) -> None:
    account = accounts["shard02"]
    with account_context(account):
        block = transaction.atomic(using="shard02")
    query = Order.objects.order_by("-title")
    with block:
        with account_context(account):
            Order.objects.create(title="new")
        assert fan_out(query)[0].title == "new"
        assert fan_out(query).count() == 3 * ROWS + 1
        rows = fan_out(query).iterator(chunk_size=5)
        next(rows)
        with account_context(account):
            Order.objects.create(title="between two rows")
        assert len(list(rows)) == 3 * ROWS
        transaction.set_rollback(True, using="shard02")
    assert fan_out(query).count() == 3 * ROWS


def test_prefetches_of_many_threads(accounts: dict[str, int]) -> None:
    for account in accounts.values():
        with account_context(account):
            Line.objects.bulk_create(
                Line(order=order, amount=int(order.title)) for order in Order.objects.all()
            )
    with all_accounts():
        lines = models.Prefetch("lines", Line.objects.select_related("order"))
        query = Order.objects.order_by("title").prefetch_related(lines)
    for order in fan_out(query).iterator(chunk_size=50):
        assert [line.amount for line in order.lines.all()] == [int(order.title)]


def test_connections_are_kept_as_long_as_the_settings_say(
    accounts: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    make = read_only._new_connection

    def note(template: Any, seconds: float) -> Any:
        opened.append(template.alias)
        return make(template, seconds)

    monkeypatch.setattr(read_only, "_new_connection", note)
    assert fan_out(Order.objects.all()).count() == 3 * ROWS
    assert not any(read_only._idle.values())
    for alias in SHARDS:
        monkeypatch.setitem(connections[alias].settings_dict, "CONN_MAX_AGE", 60)
    opened.clear()
    given = connections["shard02"].settings_dict
    line = Wire(given["HOST"], int(given["PORT"]))
    with elsewhere("shard02", line.port):
        for _ in range(3):
            assert fan_out(Order.objects.all()).count() == 3 * ROWS
    assert sorted(opened) == list(SHARDS)
    line.close()  # as if the server had been restarted meanwhile
    read_only._idle["shard03"][0].connection.close()
    until(lambda: not read_only._is_alive(read_only._idle["shard02"][0].connection))
    assert fan_out(Order.objects.all()).count() == 3 * ROWS
    assert sorted(opened) == sorted([*SHARDS, "shard02", "shard03"])
    for kept in read_only._idle.values():
        while kept:
            kept.pop().close()

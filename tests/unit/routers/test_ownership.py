"""What a shard refuses, and what becomes of that: through PgBouncer, as the application's role."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext, override_settings

from routers import ShardMap, account_atomic, account_context, current_map, shard_of
from routers.exceptions import AccountMoved, AccountMoving, AccountNotHere
from routers.ownership import changing
from routers.ownership.again import learn
from routers.ownership.guard import forget_answers
from routers.ownership.known import Known, disagreements
from routers.ownership.states import State
from routers.ownership.telling import tell
from routers.shard_map import SLOTS, use_map
from tests.unit.routers.shop.models import Order

ACCOUNT = 96_002  # no other test's
SHARD, OTHER = "shard01", "shard02"
on_postgresql = pytest.mark.skipif(
    connections[SHARD].vendor != "postgresql", reason="SQLite has one process, and no stale one"
)
pytestmark = pytest.mark.django_db(databases="__all__")


@pytest.fixture(autouse=True)
def nothing_asked() -> Iterator[None]:
    forget_answers()
    yield
    forget_answers()


@pytest.fixture
def account() -> Iterator[int]:
    """An account on shard01 with one order, and the scope in force."""
    assert shard_of(ACCOUNT) == SHARD
    with account_context(ACCOUNT):
        Order.objects.create(title="first")
        yield ACCOUNT


def change(state: State, account_id: int = ACCOUNT, shard: str = SHARD) -> None:
    moved_to = OTHER if state is State.MOVED else None
    with connections[shard].cursor() as cursor:
        changing.set_account(cursor, account_id, state, moved_to)


def give_slots(lost: dict[int, str], shard: str = SHARD) -> None:
    """Tell the shard that it owns all slots but these."""
    with connections[shard].cursor() as cursor:
        changing.set_slots(cursor, {slot: lost.get(slot) for slot in range(SLOTS)})


def raw(sql: str, *parameters: Any) -> None:
    with connections[SHARD].cursor() as cursor:
        cursor.execute(sql, parameters)


WRITES: dict[str, Callable[[], object]] = {
    "create": lambda: Order.objects.create(title="x"),
    "bulk_create": lambda: Order.objects.bulk_create([Order(title="x"), Order(title="y")]),
    "update": lambda: Order.objects.update(title="x"),
    "update of no row": lambda: Order.objects.filter(title="none").update(title="x"),
    "delete": lambda: Order.objects.all()._raw_delete(SHARD),
    "delete of no row": lambda: Order.objects.filter(title="none")._raw_delete(SHARD),
    "cursor": lambda: raw("UPDATE shop_order SET title = 'x' WHERE account_id = %s", ACCOUNT),
    "cursor, no row": lambda: raw("UPDATE shop_order SET title = 'x' WHERE id = %s", -1),
    "insert": lambda: raw("INSERT INTO shop_order (account_id, title) VALUES (%s, 'x')", ACCOUNT),
}


@on_postgresql
@pytest.mark.parametrize("what", WRITES)
def test_writes_of_an_account_that_has_moved_are_refused(account: int, what: str) -> None:
    change(State.MOVED)
    moved = pytest.raises(AccountMoved, match=r"shard01: account 96002 has moved to shard02")
    with moved as info, transaction.atomic(using=SHARD):
        WRITES[what]()
    assert (info.value.new_shard, info.value.account_id, info.value.shard) == (
        OTHER,
        account,
        SHARD,
    )


@on_postgresql
@pytest.mark.parametrize("what", WRITES)
def test_writes_of_a_slot_that_was_given_away_are_refused(account: int, what: str) -> None:
    give_slots({ACCOUNT % SLOTS: OTHER})
    with pytest.raises(AccountMoved, match="has moved to shard02"), transaction.atomic(using=SHARD):
        WRITES[what]()


@on_postgresql
@pytest.mark.parametrize("what", WRITES)
def test_writes_of_an_account_that_is_not_here_yet_are_refused(account: int, what: str) -> None:
    change(State.INCOMING)
    with pytest.raises(AccountNotHere, match="shards tell"), transaction.atomic(using=SHARD):
        WRITES[what]()


@on_postgresql
@pytest.mark.parametrize("what", WRITES)
def test_owned_accounts_are_written(account: int, what: str) -> None:
    give_slots({})
    WRITES[what]()
    change(State.MOVED, ACCOUNT + SLOTS)  # closes the slot: now it is looked up
    WRITES[what]()


@on_postgresql
def test_a_slot_that_the_shard_was_not_told_of_is_refused(account: int) -> None:
    give_slots({})
    raw("DELETE FROM routers_owner_slot WHERE slot = %s", ACCOUNT % SLOTS)
    raw("SELECT routers_compile_owner()")
    with pytest.raises(AccountNotHere), transaction.atomic(using=SHARD):
        Order.objects.create(title="x")


@on_postgresql
def test_a_new_account_is_written_at_once() -> None:
    give_slots({})
    with account_context(96_005):
        assert shard_of(96_005) == SHARD
        Order.objects.create(title="x")


@on_postgresql
def test_a_pinned_account_is_written_in_a_slot_of_others_without_a_look(account: int) -> None:
    give_slots({ACCOUNT % SLOTS: OTHER})
    change(State.OWNER)
    Order.objects.create(title="x")
    with connections[SHARD].cursor() as cursor:
        cursor.execute("SELECT routers_open_accounts()")
        assert cursor.fetchone()[0] == [ACCOUNT]
        cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1")
        assert cursor.fetchone()[0] == 0


@on_postgresql
def test_captured_rows_are_noted(account: int) -> None:
    change(State.CAPTURED)
    key = Order.objects.create(title="x").pk
    Order.objects.filter(pk=key)._raw_delete(SHARD)
    with connections[SHARD].cursor() as cursor:
        cursor.execute("SELECT account_id, table_name, id FROM routers_owner_captured")
        assert cursor.fetchall() == [(account, "shop_order", key)] * 2


@on_postgresql
def test_states_change_as_they_may(account: int) -> None:
    with connections[SHARD].cursor() as cursor:
        assert changing.set_account(cursor, account, State.CAPTURED) == 1
        assert changing.set_account(cursor, account, State.MOVED, OTHER) == 2
        assert changing.set_account(cursor, account, State.MOVED, OTHER) == 2
        with pytest.raises(changing.NotAllowed, match="is moved here and cannot become captured"):
            changing.set_account(cursor, account, State.CAPTURED)
        changing.forget_account(cursor, account)
    Order.objects.create(title="x")


@on_postgresql
@pytest.mark.parametrize(
    "read",
    [
        lambda: Order.objects.count(),
        lambda: list(Order.objects.all()),
        lambda: Order.objects.exists(),
        lambda: list(Order.objects.select_for_update()),
        lambda: raw("SELECT 1 FROM shop_order"),
        lambda: raw("WITH a AS (SELECT 1) SELECT * FROM a"),
    ],
)
def test_reads_of_a_departed_account_are_refused(account: int, read: Callable[[], object]) -> None:
    change(State.MOVED)
    forget_answers()
    with pytest.raises(AccountMoved), transaction.atomic(using=SHARD):
        read()


@on_postgresql
def test_whether_an_account_may_be_read_is_asked_once_in_a_while(account: int) -> None:
    def asked() -> int:
        with CaptureQueriesContext(connections[SHARD]) as captured:
            assert Order.objects.count() == 1
        assert len(captured) == 1
        return captured[0]["sql"].count("routers_require_readable")

    forget_answers()
    assert [asked(), asked()] == [1, 0]
    from django.conf import settings

    with override_settings(SHARDING={**settings.SHARDING, "OWNER_SECONDS": 0}):
        assert [asked(), asked()] == [1, 1]


@on_postgresql
def test_shards_are_told_the_map_and_agree_with_it() -> None:
    snapshot = ShardMap(current_map().slots, {96_002: "shard03"})
    assert tell(snapshot) == []
    for shard in ("shard01", "shard02", "shard03"):
        with connections[shard].cursor() as cursor:
            cursor.execute("SELECT slot, moved_to FROM routers_owner_slot")
            slots = dict(cursor.fetchall())
            cursor.execute("SELECT account_id, state, moved_to FROM routers_owner_account")
            accounts = {a: (State(state), to) for a, state, to in cursor.fetchall()}
        assert list(disagreements(shard, Known(slots, accounts), snapshot)) == []
    with account_context(ACCOUNT), pytest.raises(AccountMoved, match="to shard03"):
        Order.objects.create(title="x")


def test_disagreements_are_named() -> None:
    snapshot = ShardMap(("shard01",) * SLOTS, {7: OTHER, 8: OTHER})
    assert "never told" in next(disagreements(SHARD, Known(), snapshot))
    slots: dict[int, str | None] = dict.fromkeys(range(SLOTS))
    slots[3] = OTHER
    accounts = {
        7: (State.MOVED, OTHER),
        9: (State.MOVED, OTHER),
        10: (State.INCOMING, None),
    }
    told = list(disagreements(SHARD, Known(slots, accounts), snapshot))
    assert [text.partition(".")[0] for text in told] == [
        "says otherwise than the map of 1 slots: 3",
        "account 9 is on shard02; the map says shard01",
        "account 10 is incoming: a move is under way, or was left half done",
        "account 8 is pinned to shard02, which it was not told",
    ]


def test_a_refusal_says_more_than_an_older_map() -> None:
    use_map(ShardMap(("shard01",) * SLOTS))
    learn(AccountMoved(ACCOUNT, SHARD, "account has moved", OTHER))
    assert (shard_of(ACCOUNT), shard_of(ACCOUNT + 1)) == (OTHER, SHARD)
    learn(AccountMoving(ACCOUNT, OTHER, "moving"))
    assert shard_of(ACCOUNT) == OTHER


@on_postgresql
def test_a_refused_transaction_is_rolled_back_whole(account: int) -> None:
    change(State.CAPTURED)

    @account_atomic
    def work() -> None:
        Order.objects.create(title="second")
        change(State.MOVED)
        Order.objects.create(title="third")

    with pytest.raises(AccountMoved):
        work()
    assert [order.title for order in Order.objects.all()] == ["first"]

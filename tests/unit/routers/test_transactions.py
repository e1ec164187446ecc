import pytest
from django.db import Error, connections, transaction

from routers import CrossAccount, RoutingError, account_atomic, account_context, current_account
from routers.replicas.transaction import has_written
from routers.shard_map import shard_of
from routers.transactions import account_on_commit
from tests.unit.routers.shop.models import Order

ONE, OTHER = 90_001, 90_002  # on different shards, and no other test's
pytestmark = pytest.mark.django_db(databases="__all__")


@account_atomic
def store(title: str) -> None:
    Order.objects.create(title=title)
    if title == "two":
        raise ValueError(title)


def test_transaction_is_the_accounts_own() -> None:
    with account_context(ONE):
        with account_atomic():
            Order.objects.create(title="x")
            assert len(connections[shard_of(ONE)].savepoint_ids) == 1
            assert not connections["default"].savepoint_ids
            transaction.set_rollback(True, using=shard_of(ONE))
        assert not Order.objects.exists()


def test_without_an_account_it_raises() -> None:
    with pytest.raises(RoutingError, match=r"account_atomic\(\) needs an account"):
        store("x")
    with pytest.raises(RoutingError, match=r"account_atomic\(\) needs an account"):
        account_atomic().__enter__()
    with pytest.raises(RoutingError, match=r"account_on_commit\(\) needs an account"):
        account_on_commit(lambda: None)


@pytest.mark.parametrize("account", [ONE, OTHER])
def test_a_decorated_function_finds_the_account_of_each_call(account: int) -> None:
    assert shard_of(ONE) != shard_of(OTHER)
    with account_context(account):
        store("one")
        with pytest.raises(ValueError, match="two"):
            store("two")
        assert [order.title for order in Order.objects.all()] == ["one"]


@account_atomic()
def count_down(number: int) -> int:
    Order.objects.create(title=str(number))
    return number and count_down(number - 1)


def test_a_decorated_function_may_call_itself() -> None:
    with account_context(ONE):
        assert count_down(3) == 0
        assert Order.objects.count() == 4
        assert len(connections[shard_of(ONE)].savepoint_ids) == 0


def test_blocks_nest() -> None:
    """The inner one, a savepoint, is undone by itself; so it is not without a savepoint."""
    with account_context(ONE), account_atomic():
        store("one")
        with pytest.raises(ValueError, match="two"):
            store("two")
        assert [order.title for order in Order.objects.all()] == ["one"]
        with pytest.raises(ValueError, match="two"):
            account_atomic(savepoint=False)(store.__wrapped__)("two")  # type: ignore[attr-defined]
        assert transaction.get_rollback(using=shard_of(ONE))
        transaction.set_rollback(False, using=shard_of(ONE))


def test_a_durable_block_inside_another_is_refused() -> None:
    with account_context(ONE), account_atomic(), pytest.raises(RuntimeError, match="durable"):
        account_atomic(durable=True).__enter__()


def test_what_goes_on_after_its_call_cannot_be_decorated() -> None:
    async def later() -> None: ...

    def rows():  # noqa: ANN202
        yield 1

    for function in (later, rows):
        with pytest.raises(TypeError, match="is no plain function"):
            account_atomic(function)


def test_on_commit_waits_for_the_accounts_own_commit(
    django_capture_on_commit_callbacks,  # noqa: ANN001
) -> None:
    ran = []
    capture = django_capture_on_commit_callbacks(using=shard_of(ONE), execute=True)
    with account_context(ONE), capture:
        account_on_commit(lambda: ran.append(1))
        assert ran == []
    assert ran == [1]


def test_on_commit_runs_for_the_account_that_asked(
    django_capture_on_commit_callbacks,  # noqa: ANN001
) -> None:
    """The commit comes when the account is no longer in force, or another is."""
    ran: list[int | None] = []
    with django_capture_on_commit_callbacks(using=shard_of(ONE)) as actions, account_context(ONE):
        account_on_commit(lambda: ran.append(current_account()))
    actions[0]()
    with account_context(OTHER):
        actions[0]()
        assert current_account() == OTHER
    assert ran == [ONE, ONE]


def test_another_account_cannot_be_set_inside_a_transaction() -> None:
    refused = pytest.raises(CrossAccount, match=f"transaction of account {ONE} is open")
    with account_context(ONE), account_atomic(), refused:
        account_context(OTHER).__enter__()


INSERT = f"INSERT INTO shop_order (account_id, title) VALUES ({ONE}, 'by hand')"
on_postgresql = pytest.mark.skipif(
    connections["default"].vendor != "postgresql", reason="other engines do not tell"
)


@on_postgresql
@pytest.mark.parametrize("sql", [INSERT, f"WITH made AS ({INSERT} RETURNING 1) SELECT * FROM made"])
def test_the_server_tells_whether_a_transaction_has_written(sql: str) -> None:
    alias = shard_of(ONE)
    with account_context(ONE), account_atomic(), connections[alias].cursor() as cursor:
        assert not Order.objects.exists()
        assert not has_written(alias)
        cursor.execute(sql)
        assert has_written(alias)


@on_postgresql
def test_a_transaction_that_a_failed_statement_ended_counts_as_written() -> None:
    alias = shard_of(ONE)
    with account_context(ONE), account_atomic(), connections[alias].cursor() as cursor:
        with pytest.raises(Error):
            cursor.execute("SELECT 1 / 0")
        assert has_written(alias)
        transaction.set_rollback(True, using=alias)
        assert not has_written(alias)

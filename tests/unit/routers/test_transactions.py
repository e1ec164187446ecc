import pytest
from django.db import connections, transaction

from routers import RoutingError, account_atomic, account_context, shard_of
from routers.transactions import account_on_commit
from tests.unit.routers.shop.models import Order

pytestmark = pytest.mark.django_db(databases="__all__")


def test_transaction_is_the_accounts_own() -> None:
    with account_context(1):
        with account_atomic():
            Order.objects.create(title="x")
            assert len(connections[shard_of(1)].savepoint_ids) == 1
            assert not connections["default"].savepoint_ids
            transaction.set_rollback(True, using=shard_of(1))
        assert not Order.objects.exists()


def test_without_an_account_it_raises() -> None:
    with pytest.raises(RoutingError, match=r"account_atomic\(\) needs an account"):
        account_atomic()
    with pytest.raises(RoutingError, match=r"account_on_commit\(\) needs an account"):
        account_on_commit(lambda: None)


def test_on_commit_waits_for_the_accounts_own_commit(
    django_capture_on_commit_callbacks,  # noqa: ANN001
) -> None:
    ran = []
    capture = django_capture_on_commit_callbacks(using=shard_of(1), execute=True)
    with account_context(1), capture:
        account_on_commit(lambda: ran.append(1))
        assert ran == []
    assert ran == [1]

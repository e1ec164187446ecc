"""Finding a row by its key alone."""

import socket
from typing import Any

import pytest
from django.db import connections

from routers import RoutingError, account_context, shard_of
from routers.exceptions import ShardUnavailable
from routers.fanout.lookup import account_of_id, shard_of_id
from routers.keys import make_key
from routers.shard_map import ShardMap, use_map
from tests.unit.routers.shop.models import Order, Plan

pytestmark = pytest.mark.django_db(databases="__all__")

NOW_MS = 1_800_000_000_000


def stored(account: int, **given: Any) -> Order:
    with account_context(account):
        return Order.objects.create(title="x", **given)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The shards that are asked, one entry a query."""
    from routers.fanout import shard_reads

    seen: list[str] = []

    class Noting(shard_reads._ShardRead):
        def __init__(self, alias: str, *args: Any) -> None:
            seen.append(alias)
            super().__init__(alias, *args)

    monkeypatch.setattr(shard_reads, "_ShardRead", Noting)
    return seen


def test_the_shard_where_it_was_born_is_asked_first(asked: list[str]) -> None:
    order = stored(1)
    assert shard_of_id(Order, order.pk) == shard_of(1)
    assert account_of_id(Order, str(order.pk)) == 1
    assert asked == [shard_of(1)] * 2


@pytest.mark.parametrize("number", [1, 2, 3, 300], ids=str)
def test_a_row_that_was_born_elsewhere(asked: list[str], number: int) -> None:
    """300: on a shard that has left the cluster."""
    key = make_key(NOW_MS, number, 7)
    stored(2, id=key)
    assert shard_of_id(Order, key) == shard_of(2)
    assert len(asked) == len(set(asked)) <= 3


def test_an_account_in_force_changes_nothing() -> None:
    order = stored(2)
    with account_context(1):
        assert account_of_id(Order, order.pk) == 2


def test_a_copy_that_a_move_left_behind_is_not_the_row() -> None:
    order = stored(1)
    other = next(shard for shard in ("shard01", "shard02", "shard03") if shard != shard_of(1))
    use_map(ShardMap.even([other]))
    with pytest.raises(Order.DoesNotExist):
        shard_of_id(Order, order.pk)
    with account_context(1):
        Order.objects.create(id=order.pk, title="moved")
    assert shard_of_id(Order, order.pk) == other


@pytest.mark.parametrize("key", [make_key(NOW_MS, 2, 1), -5, 0, 2**62, 2**70])
def test_no_row(asked: list[str], key: int) -> None:
    with pytest.raises(Order.DoesNotExist, match=rf"shop\.Order has the key {key}\. .*shard03"):
        shard_of_id(Order, key)
    assert sorted(asked) == ["shard01", "shard02", "shard03"]


def test_a_model_that_is_not_sharded() -> None:
    with pytest.raises(RoutingError, match=r"shop\.Plan is not sharded"):
        shard_of_id(Plan, 1)


@pytest.mark.skipif(connections["shard01"].vendor != "postgresql", reason="SQLite has no server")
@pytest.mark.django_db(databases=[])
def test_a_shard_that_is_away(django_db_blocker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named where it may have the row, and not asked for what others have."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with django_db_blocker.unblock():
        monkeypatch.setitem(connections["shard02"].settings_dict, "PORT", port)
        with pytest.raises(ShardUnavailable, match="shard02"):
            shard_of_id(Order, make_key(NOW_MS, 1, 1))
        with pytest.raises(ShardUnavailable, match="shard02"):
            shard_of_id(Order, make_key(NOW_MS, 2, 1))

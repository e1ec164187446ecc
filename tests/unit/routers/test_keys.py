import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections

from routers import RoutingError, account_context, keys, shard_of
from routers.conf import settings
from tests.unit.routers.shop.models import Order


def test_layout() -> None:
    key = keys.make_key(keys.EPOCH_MS + 5, 3, 8192 + 7)
    assert key == (5 << 22) | (3 << 13) | 7
    assert (keys.born_on(key), keys.born_at_ms(key)) == (3, keys.EPOCH_MS + 5)


def test_keys_fit_64_bits_until_2094() -> None:
    end = keys.EPOCH_MS + 2**41 - 1
    assert keys.make_key(end, 511, 8191) == 2**63 - 1
    assert 1970 + end / 1000 / 86400 / 365.25 > 2094


@pytest.mark.django_db(databases="__all__")
def test_keys_are_unique_over_shards_and_ordered_by_time() -> None:
    made = []
    for account in (1, 2, 3):
        with account_context(account):
            rows = [Order.objects.create(title="x").pk for _ in range(5)]
            rows += [r.pk for r in Order.objects.bulk_create([Order(title="z") for _ in range(99)])]
        assert rows == sorted(rows)
        assert {keys.born_on(key) for key in rows} == {settings().shards[shard_of(account)]}
        made += rows
    assert len(set(made)) == len(made)


@pytest.mark.django_db(databases="__all__")
def test_key_is_made_by_the_database_and_tells_the_time() -> None:
    before = int(time.time() * 1000)
    with account_context(1):
        order = Order(title="x")
        assert order.pk is None
        order.save()
    assert before - 1 <= keys.born_at_ms(order.pk) <= int(time.time() * 1000) + 1


def test_sqlite_keys_are_unique_under_threads() -> None:
    generator = keys._SqliteKeys(1)
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: generator.next_key(), range(50_000)))
    assert len(set(made)) == len(made)


@pytest.mark.django_db(databases="__all__")
def test_number_that_changed_is_refused() -> None:
    if connections["shard01"].vendor != "postgresql":
        with pytest.raises(RoutingError, match=r"makes keys with the number 1.*gives it 9"):
            keys._same_number("shard01", configured=9, stored=1)
    else:
        keys.install(connections["shard01"])
        keys_of_nine = {**settings().shards, "shard01": 9}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(keys, "settings", lambda: type("S", (), {"shards": keys_of_nine}))
            with pytest.raises(RoutingError, match="makes keys with the number 1"):
                keys.install(connections["shard01"])

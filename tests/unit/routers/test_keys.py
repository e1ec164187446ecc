import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.db import connections

from routers import RoutingError, account_context, keys, shard_of
from routers.conf import settings
from routers.sqlite import LANES, SqliteKeys
from tests.unit.routers.shop.models import Order
from tests.variants import CHECKOUT


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
    generator = SqliteKeys(1, ":memory:")
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


MAKE_KEYS = """
import sys
from routers.sqlite import SqliteKeys
keys = SqliteKeys(1, sys.argv[1])
print(*(keys.next_key() for _ in range(20_000)))
"""


def test_sqlite_keys_are_unique_over_processes(tmp_path: Path) -> None:
    command = [sys.executable, "-c", MAKE_KEYS, str(tmp_path / "shard.sqlite3")]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT) for _ in range(3)
    ]
    made = [int(key) for process in running for key in process.communicate()[0].split()]
    assert len(made) == 60_000
    assert len(set(made)) == len(made)


def test_sqlite_lanes_are_given_back_and_run_out(tmp_path: Path) -> None:
    database = str(tmp_path / "shard.sqlite3")
    held = [SqliteKeys(1, database) for _ in range(LANES)]
    assert sorted(one.lane for one in held) == list(range(LANES))
    with pytest.raises(RoutingError, match=r"32 processes use .*shard"):
        SqliteKeys(1, database)
    for one in held:
        assert one._lane_file
        one._lane_file.close()
    again = SqliteKeys(1, database)
    assert again.lane == 0
    assert again._lane_file
    again._lane_file.close()

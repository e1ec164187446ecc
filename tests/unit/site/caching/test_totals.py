"""What several processes counted, together."""

from django.test import override_settings

from caching import counts, totals
from caching.counts import Tally
from tests.unit.site.caching.redis_server import RedisServer

KEY = ("A", "hit")


def test_pushes_add_up(cached: RedisServer) -> None:
    assert totals.read() == (None, {})
    counts.count(*KEY, size=10, seconds=0.5)
    assert totals.push()
    assert totals.push(), "nothing new"
    counts.count(*KEY)
    assert totals.push()
    since, found = totals.read()
    assert found == {KEY: Tally(2, 10, 1, 0.5)}
    assert since is not None


def test_another_process_adds_its_own(cached: RedisServer) -> None:
    counts.count(*KEY)
    assert totals.push()
    counts.clear()  # as in a process that begins
    counts.count(*KEY)
    totals._pushed.clear()
    assert totals.push()
    assert totals.read().tallies[KEY].times == 2


def test_while_redis_is_away_nothing_is_lost(cached: RedisServer) -> None:
    counts.count(*KEY)
    with cached.away():
        assert not totals.push()
        counts.count(*KEY)
    deadline_free = 0
    while not totals.push():  # it is left alone for a moment
        deadline_free += 1
        assert deadline_free < 1_000_000
    assert totals.read().tallies[KEY].times == 2


def test_what_redis_has_lost_begins_anew(cached: RedisServer) -> None:
    counts.count(*KEY)
    totals.push()
    with cached.client as client:
        client.flushall()
    counts.count(*KEY)
    totals.push()
    assert totals.read().tallies[KEY].times == 1


def test_without_a_cache_nothing_is_pushed() -> None:
    counts.count(*KEY)
    with override_settings(CACHING=None, CACHES={}):
        assert totals.push()

"""What Prometheus is told."""

import pytest
from prometheus_client import generate_latest

from caching import counts, metrics, totals, wire
from routers import account_context
from routers.health.metrics import registry
from tests.unit.site.caching.redis_server import RedisServer
from tests.unit.site.caching.shelf.models import Book
from tests.unit.site.caching.support import ONE


def value(name: str, **labels: str) -> float:
    return registry.get_sample_value(name, labels) or 0.0


@pytest.mark.parametrize("outcome", ["hit", "miss", "busy", "off", "away", "not plain"])
def test_what_was_counted_since(outcome: str) -> None:
    about = {"label": "A", "outcome": outcome}
    metrics.tick()
    before = value("caching_answers_total", **about), value("caching_bytes_total", **about)
    counts.count("A", outcome, 7)
    counts.count("A", outcome, 8)
    metrics.tick()
    metrics.tick()
    after = value("caching_answers_total", **about), value("caching_bytes_total", **about)
    assert (after[0] - before[0], after[1] - before[1]) == (2, 15)


def test_what_has_begun_anew_with_more_answers_of_fewer_bytes() -> None:
    before = {("A", "hit"): counts.Tally(times=1, size=300)}
    now = {("A", "hit"): counts.Tally(times=2, size=10)}
    assert counts.growth(before, now) == now


def test_time() -> None:
    metrics.tick()
    about = {"label": "A", "outcome": "computed"}
    before = value("caching_seconds_total", **about), value("caching_timed_total", **about)
    counts.took("A", 0.25)
    metrics.tick()
    after = value("caching_seconds_total", **about), value("caching_timed_total", **about)
    assert (after[0] - before[0], after[1] - before[1]) == (0.25, 1)


def test_state_of_databases_and_redis(cached: RedisServer) -> None:
    with account_context(ONE):
        Book.objects.create(title="one")
        Book.objects.count()
        metrics.tick()
        assert value("caching_in_service", database="shard02") == 1
        assert value("caching_redis_away") == 0
        with cached.away():
            Book.objects.count()
            assert wire.is_resting()
            metrics.tick()
            assert value("caching_redis_away") == 1
            Book.objects.update(title="two")  # which turns the cache off
            Book.objects.count()
            metrics.tick()
            assert value("caching_in_service", database="shard02") == 0
    assert b"caching_in_service" in generate_latest(registry)


def test_every_tenth_tick_goes_to_the_totals(
    cached: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed: list[int] = []
    monkeypatch.setattr(totals, "push", lambda: pushed.append(1))
    for _ in range(20):
        metrics.tick()
    assert len(pushed) == 2

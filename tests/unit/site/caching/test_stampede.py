"""Who computes and who waits, one step at a time: computing stands still until the test says so."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import pytest
from django.db import connections

from caching import cached, entries, stampede, store
from caching.policy import policy
from routers import account_atomic, account_context
from routers.carrying import carry
from tests.unit.site.caching.redis_server import RedisServer
from tests.unit.site.caching.shelf.models import Book
from tests.unit.site.caching.support import ONE, TWO, asked, elsewhere
from tests.unit.site.caching.test_round_trips import commands

SECONDS = 60


class Reader:
    """A thread that asks for the sum of all copies. Where it computes, it waits for `may_end`."""

    def __init__(self, **options: Any) -> None:
        self.options: dict[str, Any] = {"on_miss": "wait", "wait": SECONDS, **options}
        self.computes, self.may_end = Event(), Event()
        self.answers: list[Any] = []
        self.thread = Thread(target=carry(self._run))

    def start(self) -> "Reader":
        self.thread.start()
        return self

    def answer(self) -> Any:
        """Once it has one; it may go on."""
        self.may_end.set()
        self.thread.join(SECONDS)
        assert self.answers, "the reader has failed, or waits for ever"
        return self.answers[0]

    def _run(self) -> None:
        try:
            self.answers.append(cached(("sum",), self._compute, **self.options))
        finally:
            connections.close_all()

    def _compute(self) -> int:
        found = total()
        self.computes.set()
        assert self.may_end.wait(SECONDS)
        return found


def total() -> int:
    return sum(Book.objects.no_cache().values_list("copies", flat=True))


def ask(**options: Any) -> int:
    return cached(("sum",), total, **options)


@contextmanager
def somebody_computing(**options: Any) -> Iterator[Reader]:
    reader = Reader(**options).start()
    assert reader.computes.wait(SECONDS)
    try:
        yield reader
    finally:
        reader.answer()


@pytest.fixture
def shelf(cached: RedisServer) -> Iterator[RedisServer]:
    with account_context(ONE):
        Book.objects.create(title="first", copies=3)
        assert Book.objects.exists(), "the token is there"
        entries._valid.clear()
        yield cached


def until(true: Callable[[], bool]) -> None:
    pause = Event()
    for _ in range(6000):
        if true():
            return
        pause.wait(0.01)
    raise TimeoutError("not true after a minute")


def test_one_computes_and_the_others_wait_for_it(shelf: RedisServer, monkeypatch: Any) -> None:
    waiting = []
    monkeypatch.setattr(stampede, "sleep", lambda pause: waiting.append(Event().wait(pause)))
    with somebody_computing() as first:
        others = [Reader().start() for _ in range(5)]
        until(lambda: len(waiting) >= 5)
        assert first.answer() == 3
        assert [other.answer() for other in others] == [3] * 5
    assert asked("sum") == {"miss": 1, "hit": 5}


def test_nobody_computes_what_was_kept_in_between(shelf: RedisServer) -> None:
    """Who takes the lock tells what it has seen: nothing, here."""
    with shelf.client as client:
        before = set(client.keys())
        assert ask() == 3
        (key,) = set(client.keys()) - before
        seen = store.Found(None, b"", [], key.decode())
        assert stampede.claim(seen, 1) == (stampede.CHANGED, "")
        seen = seen._replace(entry=client.get(key))
    held, lock = stampede.claim(seen, 1)
    assert held == stampede.MINE
    assert stampede.claim(seen, 1) == (lock.encode(), "")


def test_whose_patience_ends_computes_itself(shelf: RedisServer) -> None:
    with somebody_computing():
        assert ask(on_miss="wait", wait=0.05) == 3
    assert asked("sum") == {"miss": 2}


def test_who_does_not_wait_computes_at_once(shelf: RedisServer, monkeypatch: Any) -> None:
    monkeypatch.setattr(stampede, "sleep", None)
    with somebody_computing():
        assert ask() == 3


def test_a_dead_computers_lock_ends_by_itself(shelf: RedisServer) -> None:
    with somebody_computing(wait=0.2) as dead:
        assert ask(on_miss="wait", wait=SECONDS) == 3
        assert not dead.may_end.is_set()


def test_an_answer_from_before_a_write_is_no_waiters(shelf: RedisServer) -> None:
    with somebody_computing() as first:
        Book.objects.update(copies=4)
        waiter = Reader().start()
        assert first.answer() == 3
        assert waiter.answer() == 4
    assert ask() == 4


def test_nobody_waits_for_what_has_failed(shelf: RedisServer, monkeypatch: Any) -> None:
    monkeypatch.setattr(stampede, "sleep", None)
    with pytest.raises(ZeroDivisionError):
        cached(("sum",), lambda: 1 // 0, on_miss="wait")
    assert ask(on_miss="wait") == 3


def test_nobody_waits_for_what_cannot_be_kept(shelf: RedisServer, monkeypatch: Any) -> None:
    monkeypatch.setattr(stampede, "sleep", None)
    for _ in range(3):
        assert cached(("sum",), lambda: {1}, on_miss="wait", wait=SECONDS) == {1}
    assert asked("sum") == {"not plain": 3}


def stale(limit: float = 60) -> int:
    return ask(on_miss="stale", wait=0.02, stale=limit)


def test_what_was_valid_a_moment_ago(shelf: RedisServer) -> None:
    assert stale() == stale() == 3
    Book.objects.update(copies=4)
    with somebody_computing(on_miss="stale", stale=60) as first:
        assert stale() == 3
        assert asked("sum")["stale"] == 1
        assert ask() == 4, "who did not say so never sees it"
        assert first.answer() == 4
    assert stale() == 4


def test_what_is_too_old(shelf: RedisServer) -> None:
    assert stale() == stale() == 3
    for key, (stamp, when) in entries._valid.items():
        entries._valid[key] = stamp, when - 61
    Book.objects.update(copies=4)
    with somebody_computing():
        assert stale() == 4
        assert "stale" not in asked("sum")


def test_nobody_knows_how_old_it_is(shelf: RedisServer) -> None:
    """Another process has kept it."""
    assert stale() == 3
    entries._valid.clear()
    Book.objects.update(copies=4)
    with somebody_computing():
        assert stale() == 4


def test_the_stale_one_or_none_without_waiting(shelf: RedisServer, monkeypatch: Any) -> None:
    monkeypatch.setattr(stampede, "sleep", None)
    options = {"on_miss": "stale", "wait": 0, "stale": 60}
    with somebody_computing():
        assert ask(**options) == ask(**options) == 3
    Book.objects.update(copies=4)
    with somebody_computing():
        assert ask(**options) == 3
    assert asked("sum")["stale"] == 1


def test_a_transaction_that_has_written_sees_nothing_stale(shelf: RedisServer) -> None:
    assert stale() == stale() == 3
    with account_atomic():
        Book.objects.update(copies=4)
        assert stale() == 4
    with somebody_computing(), account_atomic():
        assert stale() == 4


def test_another_account_sees_nothing_stale(shelf: RedisServer) -> None:
    assert stale() == stale() == 3
    Book.objects.update(copies=4)
    with somebody_computing(), account_context(TWO):
        assert stale() == 0


def test_the_stale_one_while_a_write_is_pending(shelf: RedisServer) -> None:
    """Nothing can be kept then, so every reader would compute."""
    assert stale() == stale() == 3
    with account_atomic():
        Book.objects.update(copies=4)
        assert elsewhere(stale) == 3
    with shelf.client as client:
        (token,) = client.keys(f"models:*:{{a{ONE}}}:v")
        client.set(token, b"!w,!" + client.get(token))
    assert stale() == 3
    assert ask() == 4


def test_past_its_time_it_is_kept_for_those_who_may_see_it(
    shelf: RedisServer, monkeypatch: Any
) -> None:
    assert stale() == stale() == 3
    later = entries.time() + 3601
    with monkeypatch.context() as patched, somebody_computing_later(patched, later):
        assert stale() == 3
    assert asked("sum")["stale"] == 1


@contextmanager
def somebody_computing_later(patched: Any, when: float) -> Iterator[None]:
    patched.setattr(entries, "time", lambda: when)
    with somebody_computing():
        yield


def test_before_its_end_one_makes_it_anew(shelf: RedisServer, monkeypatch: Any) -> None:
    assert ask(seconds=1000) == 3
    monkeypatch.setattr(entries, "_is_early", lambda left, cost: True)
    with somebody_computing() as first:
        for _ in range(3):
            assert ask(seconds=1000) == 3
        assert asked("sum") == {"miss": 1, "hit": 3}
        first.answer()
    assert asked("sum") == {"miss": 2, "hit": 3}


def test_the_nearer_its_end_the_likelier(monkeypatch: Any) -> None:
    def share(left: float, cost: float) -> float:
        return sum(entries._is_early(left, cost) for _ in range(4000)) / 4000

    assert share(100, 1) == share(-1, 1) == share(60, 0.0) == 0
    assert 0.30 < share(1, 1) < 0.44  # 1/e
    assert share(4, 1) < share(2, 1) < share(0.5, 1)


def test_what_it_costs(shelf: RedisServer) -> None:
    assert elsewhere(lambda: ask(on_miss="wait")) == 3  # scripts are known
    Book.objects.update(copies=4)
    assert commands(shelf, lambda: ask(on_miss="wait")) == ["MGET", "EVALSHA", "EVALSHA"]
    assert commands(shelf, lambda: ask(on_miss="wait")) == ["MGET"]


def test_querysets(shelf: RedisServer, monkeypatch: Any) -> None:
    def copies() -> int:
        one: Book = Book.objects.cache(60, on_miss="stale", stale=60).get(title="first")
        return one.copies

    assert copies() == copies() == 3
    Book.objects.update(copies=4)
    monkeypatch.setattr(stampede, "_run", lambda *args: b"somebody")
    assert copies() == 3
    monkeypatch.undo()
    assert copies() == 4


def test_what_means_nothing_is_refused() -> None:
    for wrong in ({"on_miss": "hope"}, {"on_miss": "stale"}, {"stale": 3}, {"wait": -1}):
        with pytest.raises(ValueError, match=r"Say|Leave"):
            policy(**wrong)  # type: ignore[arg-type]

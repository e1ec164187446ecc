"""Overlaps, one step at a time: who is paused where is decided by the test, not by luck."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import pytest
from django.db import connections

from caching import remember, store
from caching.places import of_account
from caching.transactions import Transaction
from routers import account_atomic, shard_of
from routers.carrying import carry
from routers.context import current_scope
from tests.unit.site.caching.redis_server import RedisServer
from tests.unit.site.caching.shelf.models import Book
from tests.unit.site.caching.support import ONE, asked, elsewhere, rename, title

SECONDS = 20


class Paused:
    """Work in another thread that stands still at a function until it may go on."""

    def __init__(self, monkeypatch: Any, where: Any, name: str, *, after: bool = False) -> None:
        self.arrived, self.may_go = Event(), Event()
        self.original = getattr(where, name)
        self.after, self.thread = after, Thread()
        monkeypatch.setattr(where, name, self._stand)

    def _stand(self, *args: Any, **kwargs: Any) -> Any:
        mine = self.thread is not None and self.thread.name == _name()
        result = self.original(*args, **kwargs) if self.after or not mine else None
        if not mine:
            return result
        self.arrived.set()
        assert self.may_go.wait(SECONDS)
        return result if self.after else self.original(*args, **kwargs)

    @contextmanager
    def doing(self, work: Callable[[], Any]) -> Iterator[None]:
        """The block runs while `work` is paused; it has ended afterwards."""
        failed: list[BaseException] = []

        def run() -> None:
            try:
                work()
            except BaseException as error:
                failed.append(error)
            finally:
                connections.close_all()

        self.thread = Thread(target=carry(run), name=f"paused {id(self)}")
        self.thread.start()
        assert self.arrived.wait(SECONDS)
        try:
            yield
        finally:
            self.may_go.set()
            self.thread.join(SECONDS)
        assert not failed, failed


def _name() -> str:
    from threading import current_thread

    return current_thread().name


def in_transaction(book: Book) -> None:
    with account_atomic():
        rename(book)


WAYS = pytest.mark.parametrize("write", [rename, in_transaction], ids=["autocommit", "transaction"])


@WAYS
def test_a_fill_that_was_paused_across_a_commit(book: Book, write: Any, monkeypatch: Any) -> None:
    rename(book, "old again")  # nothing valid is kept now
    pause = Paused(monkeypatch, store, "fill")
    with pause.doing(lambda: title(book)):  # has read the old row, and is about to keep it
        write(book)
    assert title(book) == elsewhere(lambda: title(book)) == "new"


@WAYS
def test_readers_between_the_statement_and_its_commit(
    book: Book, write: Any, monkeypatch: Any
) -> None:
    pause = Paused(monkeypatch, store, "mark")
    with pause.doing(lambda: write(book)):
        assert title(book) == elsewhere(lambda: title(book)) == "old"
    assert title(book) == elsewhere(lambda: title(book)) == "new"


@WAYS
def test_readers_between_the_mark_and_the_commit(book: Book, write: Any, monkeypatch: Any) -> None:
    pause = Paused(monkeypatch, store, "mark", after=True)
    with pause.doing(lambda: write(book)):
        assert title(book) == elsewhere(lambda: title(book)) == "old"
        assert asked()["busy"] == 2
    assert title(book) == elsewhere(lambda: title(book)) == "new"


@WAYS
def test_readers_between_the_commit_and_what_settles_it(
    book: Book, write: Any, monkeypatch: Any
) -> None:
    pause = Paused(monkeypatch, store, "settle")
    with pause.doing(lambda: write(book)):
        assert title(book) == elsewhere(lambda: title(book)) == "new"
    assert title(book) == elsewhere(lambda: title(book)) == "new"


def test_three_writers_that_overlap(book: Book, monkeypatch: Any) -> None:
    """The first one is about to commit while the two others begin and end."""
    others = [Book.objects.create(title="other") for _ in range(2)]
    pause = Paused(monkeypatch, store, "mark", after=True)
    with pause.doing(lambda: rename(book)):
        for other in others:
            rename(other)
        assert title(book) == title(book) == "old"
    assert title(book) == elsewhere(lambda: title(book)) == "new"


def test_a_fill_from_an_older_snapshot(book: Book) -> None:
    """REPEATABLE READ: what is read there is old for everybody else."""
    rename(book, "old again")
    with account_atomic():
        with connections[shard_of(ONE)].cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        assert Book.objects.count() == 1
        elsewhere(lambda: rename(book))
        assert title(book) == "old again"
    assert title(book) == elsewhere(lambda: title(book)) == "new"


def test_a_writer_that_dies_between_commit_and_settling(book: Book, monkeypatch: Any) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Transaction, "_settle", staticmethod(lambda *args: None))
        elsewhere(lambda: rename(book) or True)
    assert title(book) == elsewhere(lambda: title(book)) == "new"
    Event().wait(0.25)  # PATIENCE_SECONDS of these settings
    for _ in range(4):
        assert title(book) == elsewhere(lambda: title(book)) == "new"
    assert asked()["hit"] >= 2, "the account is cached again"


def test_a_transaction_in_flight_keeps_a_lost_token_in_quarantine(
    book: Book, cached: RedisServer, monkeypatch: Any
) -> None:
    """Redis is emptied under a marked writer, which commits and dies."""
    monkeypatch.setattr(Transaction, "_settle", staticmethod(lambda *args: None))
    pause = Paused(monkeypatch, store, "mark", after=True)
    with pause.doing(lambda: rename(book)):
        with cached.client as client:
            client.flushall()
        for _ in range(3):
            assert title(book) == "old"
    for _ in range(4):
        assert title(book) == elsewhere(lambda: title(book)) == "new"


def test_what_a_token_says(book: Book, cached: RedisServer) -> None:
    place = of_account(current_scope())  # type: ignore[arg-type]
    assert token(cached).startswith(b"=")
    store.mark(place, "w1")
    store.mark(place, "w2")
    store.mark(place, "w2")
    assert token(cached).startswith(b"!w1,w2,!=")
    store.settle(place, "w1")
    assert token(cached).startswith(b"!w2,!=")
    before = token(cached).rpartition(b"!")[2]
    store.settle(place, "w2")
    assert token(cached).startswith(b"=")
    assert token(cached) != before
    store.settle(place, "w2")
    with cached.client as client:
        client.flushall()
    store.mark(place, "w3")
    assert token(cached).startswith(b"!w3,!?")
    store.settle(place, "w3")
    assert token(cached).startswith(b"?")


def token(server: RedisServer) -> bytes:
    with server.client as client:
        (key,) = client.keys(f"models:*:{{a{ONE}}}:v")
        value: bytes = client.get(key)
    return value


def test_the_digest_knows_the_models() -> None:
    assert len(remember.schema()) == 32

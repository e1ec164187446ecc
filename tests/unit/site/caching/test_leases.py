"""Leases on "in service": who asks the database for one, and who need not connect to it."""

from threading import Barrier, Thread
from typing import Any

import pytest
from django.db import OperationalError, ProgrammingError, connections

from caching import clock, service, store
from caching.places import of_account
from routers import shard_of
from routers.carrying import carry
from routers.context import current_scope
from tests.unit.site.caching.shelf.models import Book
from tests.unit.site.caching.support import ONE, asked, elsewhere, title

THREADS = 6


def test_a_hit_opens_no_connection(book: Book, settings: Any) -> None:
    settings.CACHING = {**settings.CACHING, "LEASE_SECONDS": 60.0}
    service.forget()
    assert title(book) == "old"
    hits = asked()["hit"]

    def look() -> list[Any]:
        assert title(book) == "old"
        return [one.connection for one in connections.all(initialized_only=True)]

    assert not any(elsewhere(look))
    assert asked()["hit"] == hits + 1


def test_a_connection_that_is_opened_later_is_watched(book: Book, settings: Any) -> None:
    settings.CACHING = {**settings.CACHING, "LEASE_SECONDS": 60.0}
    service.forget()
    assert title(book) == "old"

    def change() -> str:
        assert title(book) == "old"
        Book.objects.filter(pk=book.pk).update(title="new")
        return title(book)

    assert elsewhere(change) == title(book) == "new"


def test_one_thread_renews_a_lease(book: Book, monkeypatch: Any, settings: Any) -> None:
    settings.CACHING = {**settings.CACHING, "LEASE_SECONDS": 60.0, "ANSWER_SECONDS": 20.0}
    renewed, others_wait = [], Barrier(THREADS, timeout=20)
    ask, alias = service._renewed, shard_of(ONE)
    is_held: list[bool] = []

    def asking(name: str) -> Any:
        renewed.append(name)
        is_held.append(service._turns[name].locked())
        return ask(name)

    def look() -> None:
        others_wait.wait()
        answers.append(service.current(alias, renew=True))
        connections.close_all()

    monkeypatch.setattr(service, "_renewed", asking)
    answers: list[str] = []
    service.forget()
    threads = [Thread(target=carry(look)) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert renewed == [alias]
    assert is_held == [True]
    assert len(answers) == THREADS
    assert len(set(answers)) == 1
    assert answers[0]


def test_who_waits_too_long_for_it_does_without_the_cache(book: Book) -> None:
    """And not with a lease that has ended."""
    service.forget()
    with service._turns[shard_of(ONE)]:
        assert title(book) == "old"
        assert asked()["off"] == 1
    assert title(book) == "old"
    assert asked()["hit"] == 2


@pytest.mark.parametrize(
    ("error", "code", "seconds"),
    [
        (OperationalError, None, 0.2),
        (OperationalError, "57P03", 0.2),
        (ProgrammingError, "42P01", service.MISSING),
    ],
)
def test_how_long_a_database_that_did_not_say_is_left_alone(
    book: Book, monkeypatch: Any, error: type[Exception], code: str | None, seconds: float
) -> None:
    class Cause(Exception):
        sqlstate = code

    def fails(alias: str, sql: str) -> Any:
        raise error("for this test") from Cause()

    service.forget()
    with monkeypatch.context() as patched:
        patched.setattr(service, "ask", fails)
        began = clock.now()
        assert service.current(shard_of(ONE), renew=True) == ""
        until = service._leases[shard_of(ONE)].until
        assert began + seconds <= until <= clock.now() + seconds


def test_a_dead_writer_among_busy_ones_is_given_up(book: Book, monkeypatch: Any) -> None:
    """Its mark stays, and whoever looks sees that of another one beside it."""
    scope = current_scope()
    assert scope is not None
    place, number = of_account(scope), 0
    with monkeypatch.context() as patched:
        patched.setattr(store, "settle", lambda *args: None)
        Book.objects.update(title="new")
    misses, deadline = asked()["miss"], clock.now() + 5
    while asked()["miss"] == misses:  # one that could be kept
        assert clock.now() < deadline, asked()
        number += 1
        store.mark(place, f"live{number}")
        assert title(book) == "new"
        store.settle(place, f"live{number}")
        store.mark(place, f"next{number}")
        assert title(book) == "new"
        store.settle(place, f"next{number}")
        if number % 10 == 0:
            assert title(book) == "new"

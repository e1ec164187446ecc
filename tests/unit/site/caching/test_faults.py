"""Redis away, hung, emptied, full, replaced; a writer killed; an account moved: never wrong."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from time import monotonic, sleep
from typing import Any

import pytest
from django.db import OperationalError, connections

from caching import clock, service, store, wire
from caching.wire import RedisAway
from routers import ShardMap, account_context, shard_of
from routers.shard_map import use_map
from tests.unit.site.caching.redis_server import RedisServer
from tests.unit.site.caching.shelf.models import Author, Book
from tests.unit.site.caching.support import ONE, asked, elsewhere, rename, title
from tests.variants import CHECKOUT, PYTHONPATH


def hits_again(book: Book, name: str) -> bool:
    """Whether there is a hit within half a minute; every answer on the way has to be right."""
    before, deadline = asked().get("hit", 0), monotonic() + 30
    while asked().get("hit", 0) == before and monotonic() < deadline:
        assert title(book) == name
        sleep(0.01)
    return asked().get("hit", 0) > before


def test_flushall_at_any_time(book: Book, cached: RedisServer) -> None:
    with cached.client as client:
        for number in range(5):
            client.flushall()
            assert title(book) == ("old" if number == 0 else f"new {number - 1}")
            rename(book, f"new {number}")
            client.flushall()
            assert title(book) == elsewhere(lambda: title(book))
            assert hits_again(book, f"new {number}")


def test_keys_that_are_evicted_one_by_one(book: Book, cached: RedisServer) -> None:
    with cached.client as client:
        for key in client.keys("models:*"):
            assert title(book) == title(book) == "old"
            client.delete(key)
            assert title(book) == "old"
        rename(book)
        assert title(book) == "new"


def test_redis_away_during_a_write_and_back_with_its_old_content(
    book: Book, cached: RedisServer
) -> None:
    with cached.away():
        assert title(book) == "old"
        rename(book)
        assert title(book) == elsewhere(lambda: title(book)) == "new"
    assert title(book) == elsewhere(lambda: title(book)) == "new"
    assert hits_again(book, "new")


def test_redis_away_for_the_writer_alone(book: Book, monkeypatch: Any) -> None:
    """Readers reach Redis all the time, and have a lease that says that it is in service."""
    with monkeypatch.context() as patched:
        patched.setattr(store, "mark", _away)
        assert service.current(shard_of(ONE), renew=True)
        rename(book)
        assert title(book) == elsewhere(lambda: title(book)) == "new"
        began = monotonic()
        rename(book, "newer")  # it is off, and everybody knows
        assert monotonic() - began < 60
        assert title(book) == "newer"
    assert hits_again(book, "newer")


def _away(*args: Any) -> None:
    raise RedisAway


def test_a_write_without_redis_ends_no_sooner_than_older_leases(
    book: Book, monkeypatch: Any, settings: Any
) -> None:
    settings.CACHING = {**settings.CACHING, "LEASE_SECONDS": 0.7}
    service.forget()
    assert title(book) == "old"
    until = service._leases[shard_of(ONE)].until
    monkeypatch.setattr(store, "mark", _away)
    rename(book)
    assert clock.now() >= until


def test_nobody_turns_it_on_while_such_a_write_is_open(book: Book, monkeypatch: Any) -> None:
    """Its commit would come after a new lease."""
    alias = shard_of(ONE)
    monkeypatch.setattr(store, "mark", _away)
    rename(book, "off now")
    wait_off = monotonic() + 0.3
    seen: list[str] = []

    def look() -> str:
        while monotonic() < wait_off:
            sleep(0.01)
        service.forget()
        return service.current(alias, renew=True)

    turn_off = service.turn_off

    def turned_off(name: str) -> Any:
        epoch = turn_off(name)
        seen.append(elsewhere(look))
        return epoch

    monkeypatch.setattr(service, "turn_off", turned_off)
    rename(book)
    assert seen == [""]
    monkeypatch.undo()
    assert hits_again(book, "new")


def test_redis_that_hangs_costs_a_moment_and_then_nothing(book: Book, cached: RedisServer) -> None:
    with cached.frozen():
        began = monotonic()
        assert title(book) == "old"
        first, began = monotonic() - began, monotonic()
        for _ in range(5):
            assert title(book) == "old"
        assert wire.is_resting() or monotonic() - began > 0.2
        assert first < 60
        rename(book)
        assert title(book) == "new"
    assert title(book) == elsewhere(lambda: title(book)) == "new"
    assert hits_again(book, "new")


def test_redis_killed_and_started_again_with_an_older_copy_of_its_data(
    book: Book, cached: RedisServer
) -> None:
    """As a replica that is promoted, or a server with a dump, has it."""
    with cached.client as client:
        client.execute_command("SAVE")
    rename(book)
    assert title(book) == title(book) == "new"
    cached.kill()
    assert title(book) == "new"
    cached.start()
    try:
        with cached.client as client:
            assert client.dbsize() > 0, "it has read its old content"
        assert title(book) == elsewhere(lambda: title(book)) == "new"
        assert hits_again(book, "new")
    finally:
        (cached.directory / "dump.rdb").unlink()


def test_redis_that_is_full(book: Book, cached: RedisServer) -> None:
    with cached.client as client:
        client.config_set("maxmemory", "1")
        try:
            rename(book)
            assert title(book) == elsewhere(lambda: title(book)) == "new"
        finally:
            client.config_set("maxmemory", "0")
    assert title(book) == elsewhere(lambda: title(book)) == "new"
    assert hits_again(book, "new")


def test_there_are_as_many_connections_as_threads(book: Book) -> None:
    """More than any pool has at once, one after the other."""
    before = asked()["hit"]
    for _ in range(120):
        assert elsewhere(lambda: title(book)) == "old"
    assert asked()["hit"] == before + 120


def test_strange_content_is_no_answer(book: Book, cached: RedisServer) -> None:
    author = Author.objects.create(name="A")
    assert Author.objects.get(pk=author.pk) == author
    with cached.client as client:
        for key in client.keys(f"models:*:{{a{ONE}}}:*"):
            if not key.endswith(b"}:v"):
                stamp = client.get(key).partition(b"\n")[0]
                client.set(key, stamp + b"\n" + b"x" * 40)
    assert title(book) == "old"
    assert Author.objects.get(pk=author.pk) == author


def test_an_account_moved_and_moved_back(book: Book) -> None:
    home = shard_of(ONE)
    other = next(alias for alias in ("shard01", "shard02") if alias != home)
    here = ShardMap.even(["shard01", "shard02"])
    use_map(ShardMap(here.slots, {ONE: other}, version=1))
    with pytest.raises(Book.DoesNotExist):
        title(book)
    Book.objects.create(pk=book.pk, title="there")
    assert title(book) == title(book) == "there"
    use_map(ShardMap(here.slots, {}, version=2))
    with connections[home].cursor() as cursor:  # as the replication of the move writes it
        cursor.cursor.execute("UPDATE shelf_book SET title = 'back'")
    assert title(book) == elsewhere(lambda: title(book)) == "back"


def test_who_has_an_older_map_keeps_nothing(book: Book) -> None:
    home = shard_of(ONE)
    other = next(alias for alias in ("shard01", "shard02") if alias != home)
    even = ShardMap.even(["shard01", "shard02"])
    old, new = even, ShardMap(even.slots, {ONE: other}, version=1)
    use_map(new)
    Book.objects.create(pk=book.pk, title="there")
    assert title(book) == title(book) == "there"
    use_map(old)
    kept = asked()["miss"]
    for _ in range(3):
        assert title(book) == "old", "the rows that are left where it was"
    assert asked()["miss"] == kept
    with connections[home].cursor() as cursor:
        cursor.cursor.execute("UPDATE shelf_book SET title = 'back'")
    use_map(ShardMap(even.slots, {}, version=2))
    assert title(book) == elsewhere(lambda: title(book)) == "back"


def test_two_shards_with_the_same_keys(book: Book) -> None:
    from tests.unit.site.caching.support import ELSEWHERE

    with account_context(ELSEWHERE):
        assert shard_of(ELSEWHERE) != shard_of(ONE)
        Book.objects.create(pk=book.pk, title="theirs")
        Book.objects.create(title="another")
        for _ in range(2):
            assert title(book) == "theirs"
            assert Book.objects.count() == 2
    for _ in range(2):
        assert title(book) == "old"
        assert Book.objects.count() == 1


def test_another_timeline_or_server_has_no_entries_of_this_one(
    book: Book, monkeypatch: Any
) -> None:
    """A restored backup, a promoted replica: what the lease says of the server changes."""
    restored = service.READ.replace("'.', server.system_identifier", "'.', 'restored'")
    assert restored != service.READ
    monkeypatch.setattr(service, "READ", restored)
    service.forget()
    with connections[shard_of(ONE)].cursor() as cursor:
        cursor.cursor.execute("UPDATE shelf_book SET title = 'older'")
    assert title(book) == "older"


def test_a_clock_that_jumps_is_not_looked_at(book: Book, monkeypatch: Any) -> None:
    import time

    for seconds in (-1e6, 1e6):
        monkeypatch.setattr(time, "time", lambda seconds=seconds: 1.7e9 + seconds)
        monkeypatch.setattr(time, "monotonic", lambda seconds=seconds: 1e7 + seconds)
        rename(book, f"at {seconds}")
        assert title(book) == title(book) == f"at {seconds}"


def test_a_commit_whose_outcome_nobody_knows(book: Book, monkeypatch: Any) -> None:
    """The connection breaks after the server has committed."""
    connection = connections[shard_of(ONE)]
    held = connection.caching_transaction  # type: ignore[attr-defined]
    commit: Callable[[], None] = held._commit

    def broken() -> None:
        commit()
        raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(held, "_commit", broken)
    with suppress(OperationalError):
        rename(book)
    monkeypatch.undo()
    connection.close()
    assert title(book) == elsewhere(lambda: title(book)) == "new"
    assert hits_again(book, "new")


KILLED = """
import os, signal, sys
import django
django.setup()
from routers import ShardMap, account_context
from routers.shard_map import use_map
from caching.transactions import Transaction
from tests.unit.site.caching.shelf.models import Book
use_map(ShardMap.even(["shard01", "shard02"]))
Transaction._settle = staticmethod(lambda *a: os.kill(os.getpid(), signal.SIGKILL))
with account_context(int(sys.argv[1])):
    Book.objects.filter(pk=int(sys.argv[2])).update(title="new")
"""


def test_a_process_killed_between_commit_and_settling(book: Book) -> None:
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH}
    environment["DJANGO_SETTINGS_MODULE"] = "tests.unit.site.caching.settings"
    command = [sys.executable, "-c", KILLED, str(ONE), str(book.pk)]
    died = subprocess.run(command, env=environment, cwd=CHECKOUT, check=False, timeout=120)
    assert died.returncode == -signal.SIGKILL
    assert title(book) == elsewhere(lambda: title(book)) == "new"
    assert hits_again(book, "new")

"""A Redis that is full, slow, a replica, loading, or closed to us: no error, nothing stale."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from time import monotonic, sleep
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from caching import inventory, service, totals, wire
from infra.hosts.redis import RIGHTS
from routers import shard_of
from tests.unit.site.caching.redis_server import RedisServer
from tests.unit.site.caching.shelf.models import Book
from tests.unit.site.caching.support import ONE, asked, elsewhere, rename, title


def is_never_wrong(book: Book, name: str) -> None:
    """Reads, writes and reads by somebody else."""
    for number in range(3):
        rename(book, f"{name} {number}")
        assert title(book) == elsewhere(lambda: title(book)) == f"{name} {number}"
        assert title(book) == f"{name} {number}"


def hits_again(book: Book) -> bool:
    """Whether there is a hit within half a minute; every answer on the way is as in PostgreSQL."""
    before, deadline = asked().get("hit", 0), monotonic() + 30
    while asked().get("hit", 0) == before and monotonic() < deadline:
        assert title(book) == Book.objects.no_cache().get(pk=book.pk).title
        sleep(0.01)
    return asked().get("hit", 0) > before


@contextmanager
def configured(server: RedisServer, **settings: str) -> Iterator[None]:
    with server.client as client:
        before = {name: client.config_get(name)[name] for name in settings}
        for name, value in settings.items():
            client.config_set(name, value)
        try:
            yield
        finally:
            for name, value in before.items():
                client.config_set(name, value)


def test_full_and_nothing_is_evicted(book: Book, cached: RedisServer) -> None:
    """Hits go on. A mark that Redis has no room for is none: the cache is turned off."""
    with configured(cached, **{"maxmemory": "1", "maxmemory-policy": "noeviction"}):
        hits = asked()["hit"]
        assert title(book) == "old"
        assert Book.objects.count() == 1, "a miss that cannot be kept"
        assert title(book) == "old"
        assert asked()["hit"] == hits + 2, "Redis is not left alone for what it refuses"
        assert asked()["away"] == 1
        rename(book)
        assert service.state(shard_of(ONE)) is not None
        assert _is_off()
        is_never_wrong(book, "full")
        sleep_until_it_could_be_turned_on(book)
        assert _is_off(), "it is turned on when Redis takes writes, and not before"
    is_never_wrong(book, "after")
    assert hits_again(book)


def _is_off() -> bool:
    found = service.state(shard_of(ONE))
    assert found is not None
    return found[1]


def sleep_until_it_could_be_turned_on(book: Book) -> None:
    until = monotonic() + 1
    while monotonic() < until:
        assert title(book) == "full 2"
        sleep(0.02)


def test_full_and_the_oldest_keys_go(book: Book, cached: RedisServer) -> None:
    with cached.client as client:
        most = client.info("memory")["used_memory"] + 300_000
    with configured(cached, **{"maxmemory": str(most), "maxmemory-policy": "allkeys-lru"}):
        with cached.client as client:
            for number in range(2000):
                client.set(f"another's:{number}", "x" * 500)
                if number % 200 == 0:
                    rename(book, f"at {number}")
                    assert title(book) == elsewhere(lambda: title(book)) == f"at {number}"
            assert client.info("stats")["evicted_keys"] > 0
        is_never_wrong(book, "evicting")
        assert not _is_off()
    assert hits_again(book)


def test_slow(book: Book, cached: RedisServer) -> None:
    """It sleeps for longer than anybody waits: one wait, and then it is left alone."""

    def snore() -> None:
        with cached.client as client:
            client.execute_command("DEBUG", "SLEEP", "8")

    thread = Thread(target=snore)
    thread.start()
    try:
        before = asked().get("away", 0)
        deadline = monotonic() + 30
        while asked().get("away", 0) == before and monotonic() < deadline:
            assert title(book) == "old"
        assert asked()["away"] > before
        is_never_wrong(book, "slow")
    finally:
        thread.join(60)
    is_never_wrong(book, "after")
    assert hits_again(book)


def test_a_replica(book: Book, cached: RedisServer, tmp_path: Path) -> None:
    """It has all tokens and entries, and may lag behind: nothing is read from it."""
    other = RedisServer(cached.port + 1, tmp_path)
    other.start()
    try:
        with cached.client as client:
            client.replicaof("127.0.0.1", other.port)
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            hits = asked()["hit"]
            is_never_wrong(book, "replica")
            assert asked()["hit"] == hits
            client.replicaof("NO", "ONE")
    finally:
        other.kill()
    is_never_wrong(book, "after")
    assert hits_again(book)


def test_loading_its_data(book: Book, cached: RedisServer) -> None:
    with cached.client as client:
        client.execute_command("DEBUG", "POPULATE", "20000", "filler", "20")
        client.execute_command("SAVE")
    rename(book)
    cached.kill()
    slowly = ("--key-load-delay", "20", "--loading-process-events-interval-bytes", "1024")
    thread = Thread(target=lambda: cached.start(*slowly))
    thread.start()
    try:
        deadline = monotonic() + 60
        while not _says_loading(cached) and monotonic() < deadline:
            assert title(book) == "new"
        assert _says_loading(cached)
        is_never_wrong(book, "loading")
    finally:
        thread.join(30)
        (cached.directory / "dump.rdb").unlink()
    is_never_wrong(book, "after")
    assert hits_again(book)


def _says_loading(server: RedisServer) -> bool:
    client = redis.Redis(port=server.port, socket_timeout=5, retry=Retry(NoBackoff(), 0))
    with client, suppress(redis.ConnectionError):
        try:
            client.ping()
        except redis.BusyLoadingError:
            return True
    return False


def test_a_wrong_password(book: Book, cached: RedisServer, settings: Any) -> None:
    right = settings.CACHES
    location = f"redis://:wrong@127.0.0.1:{cached.port}/0"
    settings.CACHES = {"default": {**right["default"], "LOCATION": location}}
    wire.forget()
    hits = asked()["hit"]
    is_never_wrong(book, "wrong")
    assert asked()["hit"] == hits
    settings.CACHES = right
    wire.forget()
    is_never_wrong(book, "after")
    assert hits_again(book)


@pytest.mark.parametrize(
    "rights", ["-@all", "+@all -info", "+@all -@scripting", "+@all -set -mget"]
)
def test_a_login_without_rights(book: Book, cached: RedisServer, rights: str) -> None:
    with cached.client as client:
        client.execute_command("ACL", "SETUSER", "keeper", "on", ">k", "~*", "&*", "+@all")
    keeper = redis.Redis(port=cached.port, username="keeper", password="k")
    keeper.ping()
    try:
        keeper.execute_command("ACL", "SETUSER", "default", *rights.split())
        is_never_wrong(book, "without")
        wire.forget()
        is_never_wrong(book, "without, newly connected")
    finally:
        keeper.execute_command("ACL", "SETUSER", "default", "+@all")
        keeper.close()
    is_never_wrong(book, "after")
    assert hits_again(book)


def test_the_rights_of_real_hosts_are_enough(book: Book, cached: RedisServer) -> None:
    """What an application may do there: the cache serves it, and its report can be made."""
    with cached.client as client:
        client.execute_command("ACL", "SETUSER", "keeper", "on", ">k", "~*", "&*", "+@all")
    keeper = redis.Redis(port=cached.port, username="keeper", password="k")
    keeper.ping()
    try:
        keeper.execute_command("ACL", "SETUSER", "default", "-@all", *RIGHTS["app"].split())
        wire.forget()
        is_never_wrong(book, "as the application")
        assert hits_again(book)
        totals.push()
        assert totals.read().tallies
        assert inventory.memory().keys
        assert [one.role for one in inventory.server_states()] == ["primary"]
    finally:
        keeper.execute_command("ACL", "SETUSER", "default", "+@all")
        keeper.close()


def test_no_more_connections(book: Book, cached: RedisServer) -> None:
    held = redis.Redis(port=cached.port)
    held.ping()
    held.config_set("maxclients", "1")
    held.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    try:
        wire.forget()
        assert title(book) == "old"
        assert asked()["away"] == 1
        is_never_wrong(book, "crowded")
    finally:
        held.config_set("maxclients", "10000")
        held.close()
    is_never_wrong(book, "after")
    assert hits_again(book)


def test_a_primary_that_becomes_a_replica_and_keeps_its_connections(
    book: Book, cached: RedisServer, tmp_path: Path
) -> None:
    """Nobody kills its clients, as Sentinel would: kept connections find it out."""
    other = RedisServer(cached.port + 1, tmp_path)
    other.start()
    try:
        with cached.client as client:
            client.replicaof("127.0.0.1", other.port)
            deadline = monotonic() + 30
            while not asked().get("away") and monotonic() < deadline:
                assert title(book) == "old"
            assert asked()["away"]
            hits = asked()["hit"]
            is_never_wrong(book, "replica")
            assert asked()["hit"] == hits
            client.replicaof("NO", "ONE")
    finally:
        other.kill()
    assert hits_again(book)

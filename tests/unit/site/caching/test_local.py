"""Entries in a process's own memory: no round trip, and nothing stale."""

import os
import subprocess
import sys
from collections.abc import Iterator
from threading import Event, Thread
from typing import Any

import pytest
from django.db import connections

from caching import clock, local
from caching.places import of_tables
from caching.transactions import transaction_of
from tests.unit.site.caching.redis_server import RedisServer
from tests.unit.site.caching.shelf.models import Language, Publisher
from tests.unit.site.caching.support import asked, elsewhere
from tests.unit.site.caching.test_round_trips import commands
from tests.variants import CHECKOUT, PYTHONPATH

LEASE = 0.3


@pytest.fixture
def publisher(
    cached: RedisServer, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Publisher]:
    settings.CACHING = {
        **settings.CACHING,
        "IN_PROCESS_BYTES": 100_000,
        "IN_PROCESS_LEASE": LEASE,
        "LEASE_SECONDS": 30.0,
    }
    monkeypatch.setattr(Publisher, "cache_in_process", True, raising=False)
    local.tables.cache_clear()
    local.clear()
    made = Publisher.objects.create(name="old")
    assert [name(made) for _ in range(3)] == ["old"] * 3
    yield made
    monkeypatch.undo()
    local.tables.cache_clear()
    local.clear()


def name(publisher: Publisher) -> str:
    return Publisher.objects.get(pk=publisher.pk).name


def rename(publisher: Publisher, new: str = "new") -> None:
    Publisher.objects.filter(pk=publisher.pk).update(name=new)


def test_within_a_lease_redis_is_not_asked(publisher: Publisher, cached: RedisServer) -> None:
    def work() -> None:
        _renewed(publisher)
        for _ in range(10):
            assert name(publisher) == "old"
            local._leases["shelf_publisher"] = (*local._leases["shelf_publisher"][:1], FAR)

    assert len(commands(cached, work)) <= 1


FAR = clock.now() + 3600


def _renewed(publisher: Publisher) -> None:
    local._leases.clear()
    assert name(publisher) == "old"


def test_a_lease_is_renewed_by_one_question_without_the_entry(
    publisher: Publisher, cached: RedisServer
) -> None:
    with cached.client as client:
        before = client.info("commandstats")["cmdstat_mget"]["calls"]
        sent = commands(cached, lambda: _renewed(publisher))
        assert sent == ["MGET"]
        for key in client.keys("models:*{catalog}:*"):
            if b":v" not in key:
                client.delete(key)
        _renewed(publisher)
        assert client.info("commandstats")["cmdstat_mget"]["calls"] == before + 2
    assert asked("shelf.Publisher")["miss"] == 1


def test_a_write_is_seen_by_every_process(publisher: Publisher) -> None:
    """This one has a lease at the moment of the write, which is another's."""
    for number in range(3):
        _forced_lease(publisher)
        elsewhere(lambda number=number: rename(publisher, f"new {number}") or True)
        assert name(publisher) == f"new {number}"


def _forced_lease(publisher: Publisher) -> None:
    local._leases.clear()
    name(publisher)
    assert local._leases


def test_a_write_waits_for_leases_before_its_commit(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has taken one before the mark still shows what was, and it is."""
    seen: list[bool] = []
    held: Any = transaction_of("default")
    commit = held._commit
    _forced_lease(publisher)
    until = local._leases["shelf_publisher"][1]

    def committed() -> None:
        seen.append(clock.now() >= until)
        commit()

    monkeypatch.setattr(held, "_commit", committed)
    rename(publisher)
    assert seen == [True]


def test_there_is_no_new_lease_while_a_write_is_pending(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: Any = transaction_of("default")
    commit = held._commit

    def committed() -> None:
        assert elsewhere(lambda: name(publisher)) == "old"
        assert not local._leases
        commit()

    monkeypatch.setattr(held, "_commit", committed)
    rename(publisher)
    assert name(publisher) == "new"


def test_other_tables_do_not_wait(publisher: Publisher, settings: Any) -> None:
    settings.CACHING = {**settings.CACHING, "IN_PROCESS_LEASE": 3600.0}
    Language.objects.create(code="xx", name="one")
    Language.objects.filter(code="xx").delete()
    assert "shelf_language" not in local.tables()


def test_size_is_bounded(publisher: Publisher, settings: Any) -> None:
    settings.CACHING = {**settings.CACHING, "IN_PROCESS_BYTES": 3000}
    for number in range(50):
        for _ in range(2):
            list(Publisher.objects.filter(name=str(number)))
        assert local._size <= 3000
    assert 0 < len(local._entries) < 50
    assert local._size == sum(local._bytes(found) for found, _ in local._entries.values())


def test_age_is_bounded(publisher: Publisher, settings: Any, cached: RedisServer) -> None:
    settings.CACHING = {**settings.CACHING, "IN_PROCESS_SECONDS": 0.0}
    local.clear()
    name(publisher)
    assert commands(cached, lambda: name(publisher)) == ["MGET"]
    assert local._held(next(iter(local._entries))) is None


def test_without_the_setting_nothing_is_kept(publisher: Publisher, settings: Any) -> None:
    settings.CACHING = {**settings.CACHING, "IN_PROCESS_BYTES": 0}
    local.clear()
    assert [name(publisher) for _ in range(3)] == ["old"] * 3
    assert not local._entries
    assert not local._leases


WRITER = """
import sys
import django
from django.conf import settings
settings.CACHING = {**settings.CACHING, "IN_PROCESS_LEASE": float(sys.argv[2])}
django.setup()
from tests.unit.site.caching.shelf.models import Publisher
Publisher.cache_in_process = True
for line in sys.stdin:
    Publisher.objects.filter(pk=int(sys.argv[1])).update(name=line.strip())
    print(line.strip(), flush=True)
"""


def test_under_writes_of_another_process(publisher: Publisher) -> None:
    """Readers in this one: who begins after the other was told of its commit has to see it."""
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH}
    environment["DJANGO_SETTINGS_MODULE"] = "tests.unit.site.caching.settings"
    wrong: list[str] = []
    told, stop = [0], Event()

    def read() -> None:
        try:
            while not stop.is_set():
                known = told[0]
                found = name(publisher)
                if (int(found) if found.isdigit() else 0) < known:
                    wrong.append(f"{found} after {known}")
        finally:
            connections.close_all()

    readers = [Thread(target=read) for _ in range(3)]
    command = [sys.executable, "-c", WRITER, str(publisher.pk), str(LEASE)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, cwd=CHECKOUT, **pipes) as writer:
        for reader in readers:
            reader.start()
        try:
            for number in range(1, 13):
                writer.stdin.write(f"{number}\n")
                writer.stdin.flush()
                assert writer.stdout.readline().strip() == str(number)
                told[0] = number
        finally:
            stop.set()
            for reader in readers:
                reader.join(30)
            writer.stdin.close()
    assert wrong == []
    assert asked("shelf.Publisher")["hit"] > 12


def test_of_tables_that_ask(publisher: Publisher) -> None:
    assert local.tables() == {"shelf_publisher"}
    began = clock.now()
    local.wait([of_tables(frozenset({"shelf_publisher", "shelf_language"}))])
    assert clock.now() - began >= LEASE

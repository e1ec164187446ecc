"""Redis Sentinel and Redis Cluster, by CACHES alone: hits, and failovers under writes."""

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from threading import Event, Thread
from time import monotonic, sleep
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections

from caching import cached as cached_value
from caching import service, totals, wire
from caching.inventory import memory, server_states
from caching.moments import reading
from caching.places import SHARED
from routers import account_context
from routers.carrying import carry
from tests.unit.conftest import CONFIG
from tests.unit.site.caching.fragment_support import page
from tests.unit.site.caching.redis_server import RedisServer
from tests.unit.site.caching.redis_sets import Cluster, SentinelSet, until
from tests.unit.site.caching.shelf.models import Book, Publisher
from tests.unit.site.caching.support import ELSEWHERE, ONE, TWO, asked, turn_on

pytestmark = pytest.mark.skipif(
    not CONFIG or not shutil.which("redis-cli"), reason="needs PostgreSQL and Redis"
)
ACCOUNTS = (ONE, TWO, ELSEWHERE, 90_004, 90_005, 90_006)


@pytest.fixture
def sentinel(cached: RedisServer, tmp_path: Path, settings: Any) -> Iterator[SentinelSet]:
    with SentinelSet(tmp_path).running() as servers:
        _use(settings, servers.caches())
        yield servers
    wire.forget()


@pytest.fixture
def cluster(cached: RedisServer, tmp_path: Path, settings: Any) -> Iterator[Cluster]:
    with Cluster(tmp_path).running() as servers:
        _use(settings, servers.caches())
        yield servers
    wire.forget()


def _use(settings: Any, caches: dict[str, Any]) -> None:
    settings.CACHES = caches
    turn_on()
    wire.forget()
    service.forget()


class Traffic:
    """A writer that counts, and readers: whoever begins after a commit returned has to see it."""

    def __init__(self, account: int) -> None:
        self.account, self.written, self.reads, self.wrong = account, 0, 0, list[str]()
        self._stop = Event()
        with account_context(account):
            self.book = Book.objects.create(title="counted", copies=0)
            self._threads = [Thread(target=carry(self._run), args=(work,)) for work in self._works]

    @property
    def _works(self) -> tuple[Callable[[], None], ...]:
        return self._write, self._read, self._read

    def __enter__(self) -> "Traffic":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
        assert self.wrong == []

    def _run(self, work: Callable[[], None]) -> None:
        try:
            while not self._stop.is_set():
                work()
        except Exception as error:
            self.wrong.append(repr(error))
        finally:
            connections.close_all()

    def _write(self) -> None:
        Book.objects.filter(pk=self.book.pk).update(copies=self.written + 1)
        self.written += 1
        sleep(0.02)  # so that there are hits

    def _read(self) -> None:
        known = self.written
        copies = Book.objects.get(pk=self.book.pk).copies
        self.reads += 1
        if copies < known:
            self.wrong.append(f"{copies} after {known} was committed")

    def goes_on(self, is_so: Callable[[], bool], seconds: float = 30) -> None:
        """Until then, and nothing was wrong."""
        deadline = monotonic() + seconds
        while not is_so():
            assert self.wrong == []
            assert monotonic() < deadline, f"it never came about: {asked()} {self.written}"
            sleep(0.02)


def hits() -> int:
    return asked().get("hit", 0)


def hits_more(traffic: Traffic) -> None:
    before = hits()
    traffic.goes_on(lambda: hits() > before + 20)


def runs(server: RedisServer) -> set[bytes]:
    """Runs whose tokens the server holds, of that name's keys."""
    return {key.split(b":")[1] for key in server.client.keys("models:*}:v*")}


def test_sentinel_fails_over_under_writes(sentinel: SentinelSet) -> None:
    first, second = (
        one.client.info("server")["run_id"][:12].encode()
        for one in (sentinel.primary, sentinel.replica)
    )
    with Traffic(ONE) as traffic:
        hits_more(traffic)
        assert runs(sentinel.primary) == {first}
        sentinel.primary.kill()
        traffic.goes_on(lambda: sentinel.replica.client.info("replication")["role"] == "master")
        traffic.goes_on(lambda: second in runs(sentinel.replica))
        hits_more(traffic)
    assert first in runs(sentinel.replica), "its copy is there, and nobody believes it"
    until(lambda: server_states()[0].run == second.decode())


def test_sentinel_a_former_primary_that_nobody_demotes(sentinel: SentinelSet) -> None:
    """It answers as before, on the connection that was kept: a split brain."""
    second = sentinel.replica.client.info("server")["run_id"][:12].encode()
    with account_context(ONE):
        made = Book.objects.create(title="old")
        _until_a_hit(made)
        sentinel.primary.client.execute_command(
            "ACL", "SETUSER", "default", "-replicaof", "-slaveof"
        )
        sentinel.fail_over()
        assert sentinel.primary.client.info("replication")["role"] == "master", "it still thinks so"
        until(lambda: Book.objects.get(pk=made.pk) == made and second in runs(sentinel.replica))
        _until_a_hit(made)
        until(lambda: server_states()[0].run == second.decode())


def _until_a_hit(book: Book) -> None:
    before = hits()
    until(lambda: Book.objects.get(pk=book.pk) == book and hits() > before)


def test_sentinels_that_are_away(sentinel: SentinelSet, settings: Any) -> None:
    caches = sentinel.caches()
    caches["default"]["LOCATION"] = "redis://nowhere/0"
    caches["default"]["OPTIONS"]["SENTINELS"] = [("127.0.0.1", 1)]
    _use(settings, caches)
    with account_context(ONE):
        made = Book.objects.create(title="one")
        assert Book.objects.get(pk=made.pk) == made
    assert server_states()[0].error


def test_status_says_sentinel(sentinel: SentinelSet, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("cache", "status")
    said = capsys.readouterr().out
    assert f"Redis: the primary of '{sentinel.name}', by Sentinel" in said
    assert f"127.0.0.1:{sentinel.primary.port}: primary" in said


def test_cluster_has_places_on_all_nodes(cluster: Cluster) -> None:
    nodes = {cluster.of(f"a{account}").port for account in ACCOUNTS}
    assert len(nodes) == 3
    for account in ACCOUNTS:
        with account_context(account):
            made = Book.objects.create(title="one", copies=1)
            for _ in range(3):
                assert Book.objects.get(pk=made.pk).copies == 1
            Book.objects.update(copies=2)
            assert Book.objects.get(pk=made.pk).copies == 2
            assert Book.objects.get(pk=made.pk).copies == 2
    assert asked() == {"hit": 3 * len(ACCOUNTS), "miss": 2 * len(ACCOUNTS)}
    one = Publisher.objects.create(name="one")
    assert [Publisher.objects.get(pk=one.pk).name for _ in range(2)] == ["one"] * 2
    assert memory().keys >= 2 * len(ACCOUNTS)
    assert {state.role for state in server_states()} == {"primary"}
    assert len(server_states()) == 3


def test_cluster_what_depends_on_two_places_asks_two_servers(cluster: Cluster) -> None:
    """Rows of an account and a table of the catalog: no command has keys of both."""
    accounts = [one for one in ACCOUNTS if cluster.of(f"a{one}") is not cluster.of(SHARED)]
    terms = 'uses="names" tables="shelf_publisher"'
    text = '{% fragment "f" ' + terms + ' %}{{ names|join:"," }}{% endfragment %}'
    Publisher.objects.create(name="a")

    def names() -> list[str]:
        found = Publisher.objects.no_cache().values_list("name", flat=True).order_by("name")
        return [*found, *Book.objects.no_cache().values_list("title", flat=True).order_by("title")]

    def shown() -> str:
        with reading():
            return page(text, names=names())

    kept = partial(cached_value, ("names",), names, tables=[Publisher])
    for account in accounts:
        with account_context(account):
            Book.objects.create(title="b")
            for expected in (["a", "b"], ["a", "b", "c"]):
                until(lambda: shown() and "hit" in outcome_of(shown, "fragment f"))
                assert shown() == ",".join(expected)
                until(lambda: kept() and "hit" in outcome_of(kept, "names"))
                assert kept() == expected
                Book.objects.create(title="c")
    assert totals.push(), "counts have a place of their own"
    assert totals.read().tallies


def outcome_of(work: Callable[[], Any], label: str) -> dict[str, int]:
    """How often which outcome, while that was done."""
    before = asked(label)
    work()
    return {name: n for name, n in asked(label).items() if n > before.get(name, 0)}


def test_cluster_fails_over_under_writes(cluster: Cluster) -> None:
    node = cluster.of(f"a{ONE}")
    cluster.has_replica(node)
    new = cluster.replica.client.info("server")["run_id"][:12].encode()
    with Traffic(ONE) as traffic:
        hits_more(traffic)
        node.kill()
        traffic.goes_on(lambda: cluster.replica.client.info("replication")["role"] == "master")
        traffic.goes_on(lambda: new in runs(cluster.replica))
        hits_more(traffic)


def test_cluster_moves_a_slot_under_writes(cluster: Cluster) -> None:
    """From its node to another one: MOVED."""
    here = cluster.of(f"a{ONE}")
    there = next(node for node in cluster.nodes if node is not here)
    number = here.client.cluster("keyslot", f"{{a{ONE}}}")
    new = there.client.info("server")["run_id"][:12].encode()
    with Traffic(ONE) as traffic:
        hits_more(traffic)
        _move(cluster, number, here, there)
        traffic.goes_on(lambda: new in runs(there))
        hits_more(traffic)


def _move(cluster: Cluster, number: int, here: RedisServer, there: RedisServer) -> None:
    ids = {node: node.client.cluster("myid").decode() for node in (here, there)}
    there.client.cluster("setslot", number, "importing", ids[here])
    here.client.cluster("setslot", number, "migrating", ids[there])
    while keys := here.client.cluster("getkeysinslot", number, 100):
        arguments = ("127.0.0.1", there.port, "", 0, 5000, "REPLACE", "KEYS", *keys)
        here.client.execute_command("MIGRATE", *arguments)
    for node in (there, here, *cluster.nodes):
        node.client.cluster("setslot", number, "node", ids[there])

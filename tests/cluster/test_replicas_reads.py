"""Reads from a real replica never miss a write, whatever is paused, killed or emptied.

Every test of a guard runs twice: as it is, and with the guard switched off in the processes, where
it must find an older value (or an error). Writers and readers are processes of their own.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from itertools import count
from typing import Any

import psycopg2
import pytest

from infra.layout import Layout
from infra.supervise import Supervisor
from tests.cluster.harness import CHECKOUT, Cluster, eventually
from tests.variants import PYTHONPATH

REPLICA = "shard01_replica"
# After n=1 is written, the replica paused, and n=2 written: what is read, guarded and not.
BEHIND = {"n": 2, "alias": "shard01", "why": "behind"}
OLDER = {"n": 1, "alias": REPLICA, "why": "caught up"}
accounts = count(int.from_bytes(__name__.encode()[-2:]) * 4096 + 1)
Start = Callable[..., "Worker"]


class Worker:
    """A process that reads and writes numbers; an order is a method of `replicas_worker`."""

    def __init__(self, cluster: Cluster, role: str = "app", **options: Any) -> None:
        name = "site.json" if role == "app" else f"site-{role}.json"
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.cluster.replicas_worker"),
                *(str(cluster.root / name), json.dumps(options)),
            ],
            cwd=CHECKOUT,
            env={"PYTHONPATH": PYTHONPATH},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, do: str, **arguments: Any) -> Any:
        """The answer; None where the process ended."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        return json.loads(line) if line else None

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


@pytest.fixture(scope="module")
def tables(scratch: Cluster) -> None:
    with closing(Worker(scratch, role="owner")) as owner:
        assert owner.ask("make") is None


@pytest.fixture
def start(fragile: Cluster, tables: None) -> Iterator[Start]:
    """Starts workers, which end with the test.

    Redis begins empty: what an earlier test left there would expire in the midst of this one, and
    a read would go to the primary for want of it.
    """
    with fragile.redis("cache") as cache:
        cache.flushall()
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(closing(Worker(fragile, **options)))


@pytest.fixture
def account() -> int:
    return next(accounts)


def ask(cluster: Cluster, alias: str, sql: str) -> Any:
    with closing(cluster.connect(alias, "admin")) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


@contextmanager
def paused(cluster: Cluster) -> Iterator[None]:
    """The replica stays where it is."""
    ask(cluster, REPLICA, "SELECT pg_wal_replay_pause()")
    try:
        eventually(
            lambda: ask(cluster, REPLICA, "SELECT pg_get_wal_replay_pause_state()") == "paused"
        )
        yield
    finally:
        with suppress(psycopg2.Error):  # killed: it begins anew, and not paused
            ask(cluster, REPLICA, "SELECT pg_wal_replay_resume()")


def reads_from_replica(reader: Worker, account: int, n: int = 1) -> None:
    """Wait until that number is read there; without its guards a reader finds none at first."""
    expected = {"n": n, "alias": REPLICA, "why": "caught up"}
    eventually(lambda: reader.ask("read", account=account) == expected)


def guarded(*guards: str) -> Any:
    """The test as it is (`without` is empty), and without these guards."""
    return pytest.mark.parametrize("without", [(), guards], ids=["guarded", "not guarded"])


@guarded("recording")
def test_another_process_sees_a_write_by_redis_alone(
    fragile: Cluster, start: Start, account: int, without: tuple[str, ...]
) -> None:
    writer, reader = start(without=without), start()
    writer.ask("write", account=account, n=1)
    reads_from_replica(reader, account)
    with paused(fragile):
        writer.ask("write", account=account, n=2)
        assert reader.ask("read", account=account) == (OLDER if without else BEHIND)
    if not without:
        reads_from_replica(reader, account, n=2)


@pytest.mark.parametrize("atomic", [True, False])
@guarded("own_writes")
def test_a_unit_that_writes_sees_it(
    fragile: Cluster, start: Start, account: int, without: tuple[str, ...], atomic: bool
) -> None:
    writer = start(without=without)
    writer.ask("write", account=account, n=1)
    reads_from_replica(writer, account)
    with paused(fragile):
        answer = writer.ask("write", account=account, n=2, atomic=atomic, read_first=True)
        assert answer["before"] == "1"
        assert answer["n"] == (1 if without else 2), answer


def test_a_write_outside_of_a_transaction_is_recorded(
    fragile: Cluster, start: Start, account: int
) -> None:
    writer, reader = start(), start()
    writer.ask("write", account=account, n=1)
    reads_from_replica(reader, account)
    with paused(fragile):
        writer.ask("write", account=account, n=2, atomic=False)
        assert reader.ask("read", account=account) == BEHIND


@guarded("recording")
def test_a_projects_own_on_commit_runs_after_the_recording(
    start: Start, account: int, without: tuple[str, ...]
) -> None:
    writer = start(without=without)
    answer = writer.ask("write", account=account, n=1)
    assert answer["on_commit"] == (["unknown"] if without else ["known"])


@guarded("token")
def test_a_writer_killed_between_commit_and_recording(
    fragile: Cluster, start: Start, account: int, without: tuple[str, ...]
) -> None:
    writer, reader = start(without=without), start()
    writer.ask("write", account=account, n=1)
    reads_from_replica(reader, account)
    with paused(fragile):
        assert writer.ask("write", account=account, n=2, die=True) is None
        answer = reader.ask("read", account=account)
        assert answer == (OLDER if without else BEHIND | {"why": "writing"})


def test_a_killed_writer_is_given_up(fragile: Cluster, start: Start, account: int) -> None:
    writer, reader = start(memory=2), start(memory=2)
    writer.ask("write", account=account, n=1)
    with paused(fragile):
        assert writer.ask("write", account=account, n=2, die=True) is None
        whys = set()
        eventually(lambda: whys.add(read_new(reader, account)) or "behind" in whys)
        assert "caught up" not in whys
    reads_from_replica(reader, account, n=2)


def read_new(reader: Worker, account: int) -> str:
    """Why it was read there; what was read is 2."""
    answer = reader.ask("read", account=account)
    assert answer["n"] == 2, answer
    return str(answer["why"])


@guarded("unknown")
def test_an_emptied_redis(
    fragile: Cluster, start: Start, account: int, without: tuple[str, ...]
) -> None:
    writer, reader = start(), start(without=without)
    writer.ask("write", account=account, n=1)
    reads_from_replica(writer, account)
    with paused(fragile):
        writer.ask("write", account=account, n=2)
        with fragile.redis("cache") as cache:
            cache.flushall()
        answers = [reader.ask("read", account=account) for _ in range(3)]
    whys = ("unknown", "behind", "behind")
    assert answers == ([OLDER] * 3 if without else [BEHIND | {"why": why} for why in whys])


@guarded("redis_away", "unknown")
def test_a_killed_redis(
    fragile: Cluster, start: Start, account: int, without: tuple[str, ...]
) -> None:
    writer, reader = start(), start(without=without)
    writer.ask("write", account=account, n=1)
    reads_from_replica(writer, account)
    with paused(fragile):
        fragile.kill("cache")
        writer.ask("write", account=account, n=2)
        answers = [reader.ask("read", account=account)]
        eventually(lambda: fragile.redis("cache").ping())
        answers += [reader.ask("read", account=account) for _ in range(20)]
    assert {answer["n"] for answer in answers} == ({1} if without else {2}), answers
    if not without:
        assert answers[0]["why"] in ("redis", "unknown")
        reads_from_replica(reader, account, n=2)


@guarded("cookie")
def test_a_visitor_brings_what_redis_was_not_told(
    fragile: Cluster, start: Start, account: int, without: tuple[str, ...]
) -> None:
    cut_off = start(redis="redis://127.0.0.1:1/0")
    writer, reader = start(), start(without=without)
    writer.ask("write", account=account, n=1)
    reads_from_replica(reader, account)
    with paused(fragile):
        cookie = cut_off.ask("write", account=account, n=2)["cookie"]
        assert cookie
        answer = reader.ask("read", account=account, cookie=cookie)
        assert answer == (OLDER if without else BEHIND)
    assert reader.ask("read", account=account, cookie="forged")["n"] in (1, 2)


@guarded("message")
def test_a_task_sees_what_its_sender_could_not_tell_redis(
    fragile: Cluster, start: Start, account: int, without: tuple[str, ...]
) -> None:
    cut_off = start(redis="redis://127.0.0.1:1/0")
    web, worker = start(), start(without=without)
    web.ask("write", account=account, n=1)
    reads_from_replica(worker, account)
    with paused(fragile):
        message = cut_off.ask("write", account=account, n=2)["message"]
        assert worker.ask("task", message=message) == (OLDER if without else BEHIND)


def test_a_task_and_the_web_see_each_others_writes(
    fragile: Cluster, start: Start, account: int
) -> None:
    """The task's, outside of a transaction, is settled when the task ends."""
    web, worker = start(), start()
    message = web.ask("write", account=account, n=1)["message"]
    reads_from_replica(web, account)
    assert worker.ask("task", message=message) == OLDER, "a task reads from the replica too"
    with paused(fragile):
        message = web.ask("write", account=account, n=2)["message"]
        assert worker.ask("task", message=message) == BEHIND
        worker.ask("task", message=message, n=3)
        assert web.ask("read", account=account) == BEHIND | {"n": 3}


@guarded("own_sql")
def test_own_sql_in_a_transaction_of_the_accounts(
    fragile: Cluster, start: Start, account: int, without: tuple[str, ...]
) -> None:
    writer, reader = start(without=without), start()
    writer.ask("write", account=account, n=1)
    reads_from_replica(reader, account)
    with paused(fragile):
        writer.ask("write", account=account, n=2, own_sql=True)
        assert reader.ask("read", account=account) == (OLDER if without else BEHIND)


def test_a_transaction_that_only_reads_leaves_the_account_on_the_replica(
    fragile: Cluster, start: Start, account: int
) -> None:
    writer, reader = start(), start()
    writer.ask("write", account=account, n=1)
    reads_from_replica(reader, account)
    with paused(fragile):
        writer.ask("write", account=next(accounts), n=2)  # the primary goes on
        assert writer.ask("read_in_block", account=account) == {"n": 1}
        assert reader.ask("read", account=account) == OLDER


@pytest.mark.parametrize("without", [("position",), ("own_check",)])
def test_one_of_two_checks_is_enough(
    fragile: Cluster, start: Start, account: int, without: tuple[str, ...]
) -> None:
    writer, reader = start(), start(without=without)
    writer.ask("write", account=account, n=1)
    reads_from_replica(reader, account)
    with paused(fragile):
        writer.ask("write", account=account, n=2)
        answer = reader.ask("read", account=account)
    why = "failed" if without == ("position",) else "behind"
    assert answer == BEHIND | {"why": why}


def test_without_both_checks_an_older_value_is_read(
    fragile: Cluster, start: Start, account: int
) -> None:
    writer, reader = start(), start(without=("position", "own_check"))
    writer.ask("write", account=account, n=1)
    reads_from_replica(reader, account)
    with paused(fragile):
        writer.ask("write", account=account, n=2)
        assert reader.ask("read", account=account) == OLDER


def test_a_killed_replica(fragile: Cluster, start: Start, account: int) -> None:
    writer, reader = start(), start()
    writer.ask("write", account=account, n=1)
    reads_from_replica(reader, account)
    pid = fragile.kill(REPLICA)
    writer.ask("write", account=account, n=2)
    answers = [reader.ask("read", account=account) for _ in range(50)]
    fragile.wait_for_another(REPLICA, pid)
    answers += [reader.ask("read", account=account) for _ in range(50)]
    assert {answer["n"] for answer in answers} == {2}, answers
    reads_from_replica(reader, account, n=2)


@guarded("position", "second_try")
def test_a_replica_that_is_away(
    fragile: Cluster, start: Start, account: int, without: tuple[str, ...]
) -> None:
    writer, reader = start(), start(without=without)
    writer.ask("write", account=account, n=1)
    reads_from_replica(writer, account)
    reads_from_replica(reader, account)
    Supervisor(Layout.at(fragile.root)).stop([REPLICA])
    answers = [reader.ask("read", account=account) for _ in range(2)]
    if without:
        assert [answer.keys() for answer in answers] == [{"error"}] * 2
    else:
        assert {answer["n"] for answer in answers} == {1}, answers
        assert {answer["why"] for answer in answers} <= {"failed", "behind"}

"""Celery: eager here, and in real workers of every pool over the real broker."""

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from contextvars import copy_context
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery, Task, chain, chord, group
from celery.app.task import Context

from routers import RoutingError, account_atomic, account_context, all_accounts, current_account
from routers.celery import HEADER, _begin, carry_account
from routers.context import Scope, current_scope
from tests.unit.conftest import CONFIG
from tests.variants import CHECKOUT, PYTHONPATH

servers_only = pytest.mark.skipif(not CONFIG, reason="a worker needs the test servers' broker")
SECONDS = 60


# In the process that asks: eager tasks


@pytest.fixture
def eager() -> Celery:
    app = Celery("eager", broker="memory://", set_as_current=False)
    app.conf.update(task_always_eager=True, task_eager_propagates=False)
    carry_account()
    return app


def test_an_eager_task_has_the_callers_account(eager: Celery) -> None:
    @eager.task
    def show(before: object = None) -> list[object]:
        return [before, current_account()]

    with account_context(3):
        assert show.delay().get() == [None, 3]
        assert (show.s() | show.s()).apply().get() == [[None, 3], 3]
    assert show.delay().get() == [None, None]


@pytest.mark.parametrize("caller", [None, 3])
def test_an_eager_task_that_leaks_and_fails_leaves_its_caller_as_it_was(
    eager: Celery, caller: int | None
) -> None:
    @eager.task(name=f"leak_in_{caller}")
    def leak() -> None:
        account_context(4).__enter__()
        raise ValueError("leaked")

    if caller is None:
        assert leak.delay().failed()
        assert current_account() is None
        return
    with account_context(caller):
        assert leak.delay().failed()
        assert current_account() == caller


def test_an_eager_retry_is_for_the_tasks_own_account(eager: Celery) -> None:
    tried: list[int | None] = []

    @eager.task(bind=True, max_retries=1)
    def try_twice(self: Task) -> None:
        tried.append(current_account())
        if self.request.retries == 0:
            with account_context(9):
                raise self.retry(countdown=0)

    with account_context(3):
        try_twice.delay()
    assert tried == [3, 3]


@pytest.mark.parametrize(
    "given", [{"account_id": -1, "shard": None}, {"account_id": None, "shard": "shard09"}]
)
def test_a_header_that_names_no_account_leaves_none(given: dict[str, Any]) -> None:
    """A message of somebody else's making: the task must not run with what was there before."""

    def begin() -> Scope | None:
        account_context(3).__enter__()
        with pytest.raises(RoutingError, match=r"integer from 1|is no shard"):
            _begin(task_with(given))
        return current_scope()

    assert copy_context().run(begin) is None


@pytest.mark.django_db(databases="__all__")
def test_a_task_begins_in_its_account_whatever_was_left_open() -> None:
    """A transaction of account 1, left open with its account by the task before."""

    def begin() -> int | None:
        account_context(1).__enter__()
        with account_atomic():
            _begin(task_with({"account_id": 2, "shard": None}))
            return current_account()

    assert copy_context().run(begin) == 2


def task_with(header: dict[str, Any]) -> Any:
    """What `task_prerun` sends as its task, with that header."""
    return SimpleNamespace(request=Context(headers={HEADER: header}))


# In real workers


class Worker:
    """One worker of its own, with its own queue in the test servers' broker."""

    def __init__(self, tasks: Any, pool: str) -> None:
        self.tasks, self.queue = tasks, f"{tasks.PREFIX}-{pool}"
        environment = {
            **os.environ,
            "ROUTERS_TEST_QUEUE": self.queue,
            "DJANGO_SETTINGS_MODULE": "tests.unit.routers.settings",
            "PYTHONPATH": PYTHONPATH,
        }
        options = ["--pool", pool, "--concurrency=1", "--loglevel=ERROR", "--without-gossip"]
        command = [sys.executable, "-m", "celery", "-A", tasks.__name__, "worker", *options]
        self.process = subprocess.Popen(command, env=environment, cwd=CHECKOUT)

    def send(self, work: Any) -> None:
        """A task's or a workflow's signature."""
        work.apply_async(queue=self.queue)

    def told(self, number: int = 1) -> list[list[str]]:
        """The next so many notes, sorted. Raises AssertionError after SECONDS."""
        until, found = time.monotonic() + SECONDS, []
        while len(found) < number:
            assert time.monotonic() < until, f"{number} notes were awaited: {found}"
            if answer := self.tasks.server.blpop(f"{self.queue}:told", timeout=1):
                task, note, scope = json.loads(answer[1])
                if task == "after":
                    assert scope == "None", f"{note} left its worker with {scope}"
                else:
                    found.append([task, note, scope])
        return sorted(found)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)


@pytest.fixture(scope="module")
def tasks() -> Iterator[Any]:
    os.environ["ROUTERS_TEST_PREFIX"] = f"routers-test-{uuid.uuid4().hex[:12]}"
    from tests.unit.routers.celery_app import app

    yield app
    app.app.close()
    for key in app.server.scan_iter(f"{app.PREFIX}*"):
        app.server.delete(key)
    app.server.close()


@pytest.fixture(scope="module")
def workers(tasks: Any, django_db_setup: None) -> Iterator[Callable[[str], Worker]]:
    """One worker a pool, started when it is first asked for."""
    started: dict[str, Worker] = {}

    def get(pool: str) -> Worker:
        if pool not in started:
            started[pool] = Worker(tasks, pool)
        return started[pool]

    yield get
    for worker in started.values():
        worker.stop()


@pytest.fixture(params=["solo", "threads", "prefork"])
def worker(workers: Callable[[str], Worker], request: pytest.FixtureRequest) -> Worker:
    return workers(request.param)


@servers_only
def test_a_task_runs_for_the_account_that_asked(worker: Worker, tasks: Any) -> None:
    for scope in (account_context(3), all_accounts("shard02"), all_accounts()):
        with scope:
            worker.send(tasks.show.s())
        assert worker.told() == [["show", "", str(scope.scope)]]
    worker.send(tasks.show.s())
    assert worker.told() == [["show", "", "None"]]


@servers_only
def test_the_account_waits_with_a_countdown(worker: Worker, tasks: Any) -> None:
    with account_context(3):
        tasks.show.apply_async(queue=worker.queue, countdown=0.2)
    assert worker.told() == [["show", "", "account 3"]]


@servers_only
def test_a_worker_never_begins_with_the_account_of_the_task_before(
    worker: Worker, tasks: Any
) -> None:
    """One process or thread takes all of these, in turn."""
    for _ in range(3):
        with account_context(3):
            worker.send(tasks.leak_and_fail.s(8))
            worker.send(tasks.reject.s())
        worker.send(tasks.show.s())
        worker.send(tasks.count_orders.s())
        with account_context(90_005):  # no other test's
            worker.send(tasks.count_orders.s())
    notes = worker.told(9)
    assert notes[6:] == [["show", "", "None"]] * 3
    assert notes[:3] == [["orders", "0", "account 90005"]] * 3
    assert all("no account is set" in note and scope == "None" for _, note, scope in notes[3:6])


@servers_only
@pytest.mark.parametrize("caller", [None, 3])
def test_a_retry_is_for_the_tasks_own_account(
    worker: Worker, tasks: Any, caller: int | None
) -> None:
    with account_context(caller) if caller else nullcontext():
        worker.send(tasks.try_twice.s(9))
    own = f"account {caller}" if caller else "None"
    assert worker.told(2) == [["try_twice", "0", own], ["try_twice", "1", own]]


@servers_only
def test_what_a_task_sends_is_for_its_account(worker: Worker, tasks: Any) -> None:
    with account_context(3):
        worker.send(tasks.send_on.s())
    assert worker.told(2) == [["show", "other", "account 9"], ["show", "own", "account 3"]]


@servers_only
def test_the_links_of_a_chain(worker: Worker, tasks: Any) -> None:
    with account_context(3):
        worker.send(chain(tasks.show.s("a"), tasks.show.si("b"), tasks.show.si("c")))
    assert worker.told(3) == [["show", note, "account 3"] for note in "abc"]


@servers_only
def test_a_group_and_the_callback_of_a_chord(worker: Worker, tasks: Any) -> None:
    with account_context(3):
        worker.send(group(tasks.show.s("a"), tasks.show.s("b")))
    assert worker.told(2) == [["show", note, "account 3"] for note in "ab"]
    with account_context(4):
        worker.send(chord([tasks.show.s("a"), tasks.show.s("b")], tasks.collect.s()))
    notes = worker.told(3)
    assert notes == [["collect", "2", "account 4"], *(["show", n, "account 4"] for n in "ab")]


@servers_only
def test_callbacks_of_success_and_of_failure(worker: Worker, tasks: Any) -> None:
    with account_context(3):
        tasks.show.apply_async(queue=worker.queue, args=["a"], link=tasks.show.si("b"))
        assert worker.told(2) == [["show", note, "account 3"] for note in "ab"]
        tasks.fail.apply_async(queue=worker.queue, link_error=tasks.failed.s())
    assert worker.told() == [["failed", "on purpose", "account 3"]]


@servers_only
def test_a_worker_goes_on_without_the_account_of_a_killed_task(
    workers: Callable[[str], Worker], tasks: Any
) -> None:
    worker = workers("prefork")
    with account_context(3):
        worker.send(tasks.never_end.s())
    assert worker.told() == [["never_end", "", "account 3"]]
    worker.send(tasks.show.s())
    assert worker.told() == [["show", "", "None"]]


@servers_only
def test_a_revoked_task_leaves_nothing(worker: Worker, tasks: Any) -> None:
    with account_context(3):
        late = tasks.show.apply_async(["revoked"], queue=worker.queue, countdown=3600)
    tasks.app.control.revoke(late.id)
    worker.send(tasks.show.s("next"))
    assert worker.told() == [["show", "next", "None"]]


@servers_only
def test_beat_has_no_account(worker: Worker, tasks: Any) -> None:
    """Its scheduler sends the task, from a process that has no account."""
    from celery.beat import ScheduleEntry, Scheduler

    entry = ScheduleEntry(
        "count", tasks.count_orders.name, schedule=1, options={"queue": worker.queue}, app=tasks.app
    )
    Scheduler(tasks.app, lazy=True).apply_async(entry)
    [[_, said, scope]] = worker.told()
    assert scope == "None"
    assert "no account is set" in said

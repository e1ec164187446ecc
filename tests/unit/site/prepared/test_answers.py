"""Answers that a task prepares, on a real Redis: once, however many ask and whatever goes away."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier
from typing import Any

import pytest
import redis
from kombu.exceptions import OperationalError as BrokerAway

from prepared import Answer, Prepared, State, alone, answers, server
from prepared.jobs import prepare
from prepared.shared import Kept, Lease, read
from routers import account_context, current_account
from tests.unit.site.caching.redis_server import RedisServer
from tests.unit.site.prepared.conftest import SECONDS, Made, Queue

ASKERS = 60  # redis-py gives a process a hundred connections
Making = Callable[..., Prepared]


def ask_all(it: Prepared, number: int = ASKERS) -> list[Answer]:
    """What so many threads get that ask at the same instant."""
    barrier = Barrier(number)

    def ask(_: int) -> Answer:
        barrier.wait(SECONDS)
        return it.get("key")

    with ThreadPoolExecutor(number) as threads:
        return list(threads.map(ask, range(number)))


def states(found: list[Answer]) -> dict[State, int]:
    return {state: n for state in State if (n := sum(one.state is state for one in found))}


def until(is_so: Callable[[], Any]) -> None:
    deadline = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def keep_old(value: str, age: float = 7200.0) -> None:
    """As if it had been made two hours ago."""
    kept = Kept(value, time.time() - age, "old")
    lease = Lease.take("tests.made:key", 60)
    assert lease
    assert lease.store(kept, 3600)


@contextmanager
def shut(made: Made) -> Iterator[None]:
    """Nothing is finished inside the block."""
    made.gate.clear()
    try:
        yield
    finally:
        made.gate.set()


# Once


def test_a_crowd_makes_it_once(
    redis_server: RedisServer, made: Made, queue: Queue, prepare_it: Making
) -> None:
    it = prepare_it()
    with shut(made):
        assert states(ask_all(it)) == {State.PENDING: ASKERS}
    queue.settle()
    assert {one.value for one in ask_all(it)} == {"made 1"}
    assert (made.times, len(queue.sent), made.keys) == (1, 1, ["key"])


def test_a_crowd_sees_the_former_one_meanwhile(
    redis_server: RedisServer, made: Made, queue: Queue, prepare_it: Making
) -> None:
    it = prepare_it()
    keep_old("before")
    with shut(made):
        found = ask_all(it)
        assert states(found) == {State.STALE: ASKERS}
        assert {one.value for one in found} == {"before"}
    queue.settle()
    assert (it.get("key").value, it.get("key").state) == ("made 1", State.FRESH)
    assert made.times == 1


def test_crowd_after_crowd_each_renewal_is_one(
    redis_server: RedisServer, made: Made, queue: Queue, prepare_it: Making
) -> None:
    """Without a gate: askers come before, while and just after it is made."""
    it = prepare_it()
    for number in range(1, 6):
        ask_all(it)
        queue.settle()
        assert made.times == number
        with redis_server.client as client:
            client.delete("prepared:{tests.made:key}:value")


def test_one_that_was_made_between_look_and_lease_is_not_made_again(
    redis_server: RedisServer, made: Made, queue: Queue, prepare_it: Making
) -> None:
    it = prepare_it()
    assert it.refresh("key")
    answer = it._begin("key", None)  # this asker looked before that
    assert answer
    assert (answer.value, made.times, queue.sent) == ("made 1", 1, [])
    assert Lease.take("tests.made:key", 1)  # and keeps nobody from the lease


def test_every_key_is_an_answer_of_its_own(
    redis_server: RedisServer, made: Made, queue: Queue, prepare_it: Making
) -> None:
    it = prepare_it()
    assert (it.refresh("one"), it.refresh("two")) == (True, True)
    assert (it.get("one").value, it.get("two").value) == ("made 1", "made 2")
    assert it.get("one").digest != it.get("two").digest


def test_whoever_asks_inside_an_account_gets_what_everybody_gets(
    redis_server: RedisServer, queue: Queue, prepare_it: Making
) -> None:
    """Here tasks run at once, in the asker's own thread."""
    it = prepare_it()
    it.make = lambda key: current_account()
    queue.loses = True
    with account_context(42):
        it.get("key")
        prepare(**queue.sent[0])
        answer = it.get("key")
    assert (answer.is_there, answer.value) == (True, None)


# What dies


def test_a_lost_task_is_sent_again_after_its_time(
    redis_server: RedisServer,
    made: Made,
    queue: Queue,
    prepare_it: Making,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(answers, "QUEUED_SECONDS", 0.2)
    it = prepare_it()
    queue.loses = True
    assert it.get("key").state is State.PENDING
    queue.loses = False
    until(lambda: it.get("key").value == "made 1")
    assert (made.times, len(queue.sent)) == (1, 2)


def test_a_task_that_comes_too_late_does_nothing(
    redis_server: RedisServer, made: Made, queue: Queue, prepare_it: Making
) -> None:
    it = prepare_it()
    queue.loses = True
    it.get("key")
    with redis_server.client as client:
        client.delete("prepared:{tests.made:key}:lease")  # its time is over
    assert it.refresh("key")  # somebody else's
    prepare(**queue.sent[0])
    prepare(**queue.sent[0])
    assert (made.times, it.get("key").value) == (1, "made 1")


def test_a_long_task_keeps_its_lease(
    redis_server: RedisServer,
    made: Made,
    queue: Queue,
    prepare_it: Making,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(answers, "LEASE_SECONDS", 0.6)
    it = prepare_it()
    renewals = []
    renew = Lease.renew
    monkeypatch.setattr(Lease, "renew", lambda *given: renewals.append(1) or renew(*given))
    with shut(made):
        it.get("key")
        until(lambda: len(renewals) > 5)  # more than one lease long
        assert states(ask_all(it, 10)) == {State.PENDING: 10}
    queue.settle()
    assert (made.times, it.get("key").value) == (1, "made 1")


def test_a_task_that_was_frozen_keeps_nothing(
    redis_server: RedisServer, made: Made, queue: Queue, prepare_it: Making
) -> None:
    """Its lease has ended, another has made the answer: the former one's must not replace it."""
    it = prepare_it()
    with shut(made):
        it.get("key")
        assert made.at_work.wait(SECONDS)
        with redis_server.client as client:
            client.delete("prepared:{tests.made:key}:lease")
        lease = Lease.take("tests.made:key", 60)
        assert lease
        assert lease.store(Kept.now("newer"), 3600)
    queue.settle()
    assert it.get("key").value == "newer"


def test_what_fails_rests(
    redis_server: RedisServer,
    made: Made,
    queue: Queue,
    prepare_it: Making,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    it = prepare_it()
    made.error = RuntimeError("a shard is away")
    it.get("key")
    queue.settle()
    assert states(ask_all(it)) == {State.REFUSED: ASKERS}
    assert made.times == 1
    with redis_server.client as client:  # its rest is over
        client.delete(*[f"prepared:{{tests.made:key}}:{part}" for part in ("lease", "failed")])
    made.error = None
    it.get("key")
    queue.settle()
    assert it.get("key").value == "made 2"


def test_a_failure_leaves_the_former_one(
    redis_server: RedisServer, made: Made, queue: Queue, prepare_it: Making
) -> None:
    it = prepare_it()
    keep_old("before")
    made.error = RuntimeError("a shard is away")
    for _ in range(3):
        assert (it.get("key").state, it.get("key").value) == (State.STALE, "before")
        queue.settle()
    assert made.times == 1


# What is away


def test_without_the_broker_the_first_asker_makes_it(
    redis_server: RedisServer, made: Made, prepare_it: Making, monkeypatch: pytest.MonkeyPatch
) -> None:
    def send(**given: object) -> None:
        raise BrokerAway("connection refused")

    monkeypatch.setattr(prepare, "apply_async", send)
    it = prepare_it()
    found = states(ask_all(it))
    assert set(found) <= {State.FRESH, State.PENDING}
    assert found[State.FRESH] >= 1
    assert made.times == 1


@pytest.mark.parametrize("how", ["away", "frozen"])
def test_without_redis_a_process_makes_it_once(
    redis_server: RedisServer, made: Made, queue: Queue, prepare_it: Making, how: str
) -> None:
    it = prepare_it()
    with getattr(redis_server, how)():
        found = states(ask_all(it))
        assert set(found) <= {State.FRESH, State.PENDING}
        assert states(ask_all(it)) == {State.FRESH: ASKERS}
        assert (made.times, queue.sent) == (1, [])


def test_without_redis_others_do_not_wait(
    redis_server: RedisServer, made: Made, prepare_it: Making
) -> None:
    it = prepare_it()
    with redis_server.away(), ThreadPoolExecutor(1) as threads:
        with shut(made):
            first = threads.submit(it.get, "key")
            assert made.at_work.wait(SECONDS)
            assert states(ask_all(it, 20)) == {State.PENDING: 20}
        assert first.result(SECONDS).value == "made 1"


def test_without_redis_the_last_one_seen_is_shown(
    redis_server: RedisServer, made: Made, queue: Queue, prepare_it: Making
) -> None:
    it = prepare_it(fresh_seconds=3600.0)
    assert it.refresh("key")
    it.get("key")
    with redis_server.away():
        assert it.get("key").value == "made 1"
        assert it.peek("key") is not None
    assert made.times == 1


def test_without_redis_what_fails_rests(
    redis_server: RedisServer, made: Made, prepare_it: Making
) -> None:
    it = prepare_it()
    made.error = RuntimeError("a shard is away")
    with redis_server.away():
        assert it.get("key").state is State.REFUSED
        assert states(ask_all(it)) == {State.REFUSED: ASKERS}
    assert made.times == 1


def test_redis_is_used_again_once_it_is_back(
    redis_server: RedisServer, made: Made, queue: Queue, prepare_it: Making
) -> None:
    it = prepare_it()
    with redis_server.away():
        it.get("key")
    server.forget()  # its second of rest
    it.get("key")
    queue.settle()
    assert read("tests.made:key")


def test_a_site_without_redis_makes_it_in_the_process(made: Made, prepare_it: Making) -> None:
    it = prepare_it()
    assert it.peek("key") is None
    found = states(ask_all(it, 20))
    assert set(found) <= {State.FRESH, State.PENDING}
    assert (it.get("key").value, made.times) == ("made 1", 1)
    assert not it.refresh("key")


def test_one_that_another_thread_has_just_made_is_not_made_again(
    made: Made, prepare_it: Making, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = prepare_it()

    class Late:
        """A lock that is free only once another thread has made the answer."""

        def acquire(self, blocking: bool) -> bool:
            it._alone.remember("key", Kept.now("another's"))
            return True

        def release(self) -> None:
            pass

    monkeypatch.setattr(alone, "_at_work", Late())
    assert (it.get("key").value, made.times) == ("another's", 0)


def test_a_redis_that_was_away_is_left_alone_for_a_moment(redis_server: RedisServer) -> None:
    asked = []

    def fail(client: Any) -> None:
        asked.append(client)
        raise redis.ConnectionError("refused")

    for _ in range(2):
        with pytest.raises(server.Away):
            server.ask(fail)
    assert len(asked) == 1
    server.forget()
    assert server.ask(lambda client: client.ping())

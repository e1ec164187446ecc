"""Tasks that run in threads, and something to prepare."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event, Lock
from typing import Any

import pytest

SECONDS = 20.0  # a deadline, never a wait


class Made:
    """What is prepared: "made N", where N counts. It waits while `gate` is shut."""

    def __init__(self) -> None:
        self.times, self.keys = 0, []  # type: ignore[var-annotated]
        self.gate, self.at_work = Event(), Event()
        self.error: Exception | None = None
        self._lock = Lock()
        self.gate.set()

    def __call__(self, key: str) -> str:
        with self._lock:
            self.times += 1
            number = self.times
        self.keys.append(key)
        self.at_work.set()
        assert self.gate.wait(SECONDS)
        if self.error:
            raise self.error
        return f"made {number}"


@pytest.fixture
def made() -> Iterator[Made]:
    found = Made()
    yield found
    found.gate.set()


class Queue:
    """Tasks that were sent, run by threads as a worker's are; or lost."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.jobs: list[Future[Any]] = []
        self.loses = False
        self._threads = ThreadPoolExecutor(4)

    def send(self, *, kwargs: dict[str, Any], expires: float) -> None:
        from prepared.jobs import prepare

        self.sent.append(kwargs)
        if not self.loses:
            self.jobs.append(self._threads.submit(prepare, **kwargs))

    def settle(self) -> None:
        """Wait till all is done."""
        for job in self.jobs:
            job.result(SECONDS)

    def close(self) -> None:
        self._threads.shutdown()


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch, made: Made) -> Iterator[Queue]:
    from prepared.jobs import prepare

    found = Queue()
    monkeypatch.setattr(prepare, "apply_async", found.send)
    yield found
    made.gate.set()
    found.close()


@pytest.fixture
def prepare_it(made: Made) -> Iterator[Callable[..., Any]]:
    """Makes a `Prepared` of `made`; none of them is left."""
    from prepared import Prepared

    before = dict(Prepared._known)

    def make(**options: Any) -> Prepared:
        return Prepared("tests.made", made, **{"fresh_seconds": 3600.0, **options})

    yield make
    Prepared._known.clear()
    Prepared._known.update(before)

"""What is counted, and the time that was saved."""

import os
import threading
from collections.abc import Iterator

import pytest

from caching import counts
from caching.counts import COMPUTED, Tally


@pytest.fixture(autouse=True)
def _nothing_counted() -> Iterator[None]:
    counts.clear()
    yield
    counts.clear()


def test_time_is_of_those_that_were_timed() -> None:
    counts.count("A", "hit", 100, 0.25)
    counts.count("A", "hit", 50)
    counts.count("A", "busy")
    counts.took("A", 2.0)
    assert counts.tallies() == {
        ("A", "hit"): Tally(times=2, size=150, timed=1, seconds=0.25),
        ("A", "busy"): Tally(times=1),
        ("A", COMPUTED): Tally(times=1, timed=1, seconds=2.0),
    }


def test_what_hits_saved() -> None:
    hits, computed = Tally(times=10, timed=5, seconds=0.5), Tally(times=2, timed=2, seconds=2.0)
    assert counts.saved(hits, computed) == pytest.approx(10 * (1.0 - 0.1))
    assert counts.saved(hits, Tally()) is counts.saved(Tally(), computed) is None


def test_threads_lose_no_count() -> None:
    def work() -> None:
        for _ in range(2000):
            counts.count("A", "hit", 1, 1.0)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert counts.tallies()["A", "hit"] == Tally(16_000, 16_000, 16_000, 16_000.0)


def test_a_new_process_begins_with_nothing() -> None:
    counts.count("A", "hit")
    child = os.fork()
    if child == 0:
        os._exit(len(counts.tallies()))
    assert os.waitpid(child, 0)[1] == 0

"""500 concurrent requests for one value that nobody keeps any more: how often is it computed?"""

import json
import statistics
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import Any

import redis
from rich.table import Table

from tests.bench.caching import tables
from tests.bench.caching_worker import ROWS
from tests.bench.cluster import config
from tests.bench.side import Side, shard_settings
from tests.variants import CHECKOUT, PYTHONPATH

__all__ = ["Stampede", "bench_stampede", "stampede_table"]

PROCESSES, THREADS = 4, 125
SECONDS = 0.3  # that it takes to compute
WAYS = ("compute", "wait", "stale")


@dataclass
class Stampede:
    """Of one way to ask: how often it was computed, and refused by the database, in each round; and
    how long readers waited."""

    computed: list[int] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


class Crowds:
    """Processes of stampede_worker."""

    def __init__(self) -> None:
        script = str(CHECKOUT / "tests" / "bench" / "stampede_worker.py")
        first = {"database": shard_settings(), "redis": config()["cache"]}
        first |= {"threads": THREADS, "seconds": SECONDS}
        environment = {"PYTHONPATH": PYTHONPATH}
        self.sides = [Side([sys.executable, script], first, environment) for _ in range(PROCESSES)]
        self.telling = ThreadPoolExecutor(PROCESSES)

    def tell(self, line: str) -> list[str]:
        """To all of them at once."""
        return list(self.telling.map(lambda side: side.answer(line, 60), self.sides))

    def close(self) -> None:
        self.telling.shutdown()
        for side in self.sides:
            side.stop()


def bench_stampede(rounds: int) -> dict[str, Stampede]:
    """Way to ask → what came of it. What was kept ends by a write, in every round."""
    found = {way: Stampede() for way in WAYS}
    with ExitStack() as stack:
        stack.enter_context(tables())
        stack.enter_context(redis.Redis.from_url(config()["cache"])).flushdb()
        crowds = stack.enter_context(closing(Crowds()))
        crowds.tell("warm")
        for _ in range(rounds):
            for way, all_of_it in found.items():
                crowds.tell(f"ask {way}")
                crowds.sides[0].answer("forget", 60)
                told: list[dict[str, Any]] = [
                    json.loads(line) for line in crowds.tell(f"ask {way}")
                ]
                answers = {answer for one in told for answer in one["answers"]}
                assert answers == {ROWS}, (answers, {one["refusal"] for one in told})
                all_of_it.computed.append(sum(one["computed"] for one in told))
                all_of_it.failed.append(sum(one["failed"] for one in told))
                all_of_it.seconds += [seconds for one in told for seconds in one["seconds"]]
    return found


def stampede_table(rounds: int = 5) -> Table:
    """How often it was computed, and waits as multiples of the time that takes."""
    title = f"stampede: {PROCESSES * THREADS} requests at once, a value of {1000 * SECONDS:.0f} ms"
    table = Table(
        *("on_miss", "computed: median", "most", "refused", "median wait", "p95", "longest"),
        title=title,
    )
    for way, all_of_it in bench_stampede(rounds).items():
        seconds = sorted(all_of_it.seconds)
        waits = (statistics.median(seconds), seconds[int(len(seconds) * 0.95)], seconds[-1])
        computed = all_of_it.computed
        refused = f"{statistics.median(all_of_it.failed):.0f}"
        numbers = (f"{statistics.median(computed):.0f}", str(max(computed)), refused)
        table.add_row(way, *numbers, *(f"{wait / SECONDS:.2f}" for wait in waits))
    table.caption = f"{rounds} rounds; waits in times that computing takes; all on this machine"
    return table

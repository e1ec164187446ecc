"""What a cached answer takes on Redis: ours, without compression as well, and the libraries.

Bytes are MEMORY USAGE of every key that is there once the answer is kept: sets for invalidation,
tokens and what else a library keeps beside it, so one answer alone bears all of that. The last
column is what each list more takes, of twenty that differ in where they begin.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench.caching import PEERS, peers_python, tables
from tests.bench.cluster import infra
from tests.bench.side import Side, shard_settings
from tests.unit.site.caching.redis_server import RedisServer
from tests.variants import CHECKOUT, PYTHONPATH

__all__ = ["bench_memory", "memory_table"]

PORT = 26393  # of a Redis of its own
QUESTIONS = {"20-row list": "list", "one row": "get", "a count": "count"}
NEVER = {"COMPRESS_FROM": 1_000_000_000}
SIDES = {"ours": {}, "ours, not compressed": NEVER, **{peer: {} for peer in PEERS}}
LISTS = 20


def bench_memory() -> dict[str, dict[str, int]]:
    """Side → question → bytes; "each more" is of a list."""
    found: dict[str, dict[str, int]] = {}
    with tables(), tempfile.TemporaryDirectory() as directory:
        server = RedisServer(PORT, Path(directory))
        server.start()
        try:
            for name in SIDES:
                with _side(name) as side:
                    found[name] = _measured(server, side)
        finally:
            server.kill()
    return found


def _measured(server: RedisServer, side: Side) -> dict[str, int]:
    found = {}
    for title, question in QUESTIONS.items():
        found[title] = _bytes(server, side, [question])
    lists = _bytes(server, side, [f"list {number}" for number in range(LISTS)])
    first = _bytes(server, side, ["list 0"])
    return {**found, "each list more": (lists - first) // (LISTS - 1)}


def _bytes(server: RedisServer, side: Side, questions: list[str]) -> int:
    """Of an empty Redis, once they were asked until they are kept."""
    with server.client as client:
        client.flushall()
        for question in questions:
            side.nanoseconds(question, 20)
        keys = list(client.scan_iter(count=1000))
        if len(keys) < 2:
            raise RuntimeError(f"{question} is not kept: there is {keys}")
        return sum(client.memory_usage(key, samples=0) for key in keys)


@contextmanager
def _side(name: str) -> Iterator[Side]:
    peer = name in PEERS
    python = peers_python() if peer else sys.executable
    script = str(CHECKOUT / "tests" / "bench" / "caching_worker.py")
    first = {"database": shard_settings(), "redis": f"redis://127.0.0.1:{PORT}/0"}
    first |= {"caching": SIDES[name]}
    kind = name.partition(",")[0]
    side = Side([python, script, kind], first, {"PYTHONPATH": "" if peer else PYTHONPATH})
    try:
        yield side
    finally:
        side.stop()


def memory_table() -> Table:
    found = bench_memory()
    columns = [*QUESTIONS, "each list more"]
    table = Table("side", *columns, title="bytes on Redis of a cached answer")
    for name, sizes in found.items():
        table.add_row(name, *(f"{sizes[column]:,}" for column in columns))
    table.caption = "MEMORY USAGE of all keys that are there for it; the list has its authors"
    return table


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.memory", description=__doc__)
    parser.parse_args()
    infra("up")
    Console(width=110).print(memory_table())


if __name__ == "__main__":
    main()

"""A stress of the cache: nobody reads anything older than a write that was acknowledged before.

Processes read and write a few rows as fast as they can, by all ways, and are killed at random, as
Redis is: killed, frozen, emptied, replaced by an older copy of itself. Each row has a counter that
only rises. What an acknowledged write has made of it is noted in memory that all share, and every
read has to see at least what stood there when it began.

`python -m tests.bench.staleness --seconds 120`, with FULCRUM_CONFIG and the test servers running.
"""

import argparse
import mmap
import os
import random
import signal
import struct
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from tests.variants import CHECKOUT, PYTHONPATH

ROWS, WORDS = 8, 6  # rows of each account; numbers that a process reports
ACCOUNTS = (91_001, 91_002, 91_003)
COUNTERS = ROWS * len(ACCOUNTS)
REPORTED = ("reads", "hits", "writes", "stale", "errors", "misses")
SETTINGS = "tests.unit.site.caching.settings"


class Board:
    """Memory that the processes share: a counter for each row, and what each process has done."""

    def __init__(self, path: Path, processes: int) -> None:
        self.size = 8 * (COUNTERS + processes * WORDS)
        if not path.exists():
            path.write_bytes(b"\0" * self.size)
        with path.open("r+b") as file:
            self.memory = mmap.mmap(file.fileno(), self.size)

    def get(self, place: int) -> int:
        return int(struct.unpack_from("q", self.memory, 8 * place)[0])

    def put(self, place: int, value: int) -> None:
        struct.pack_into("q", self.memory, 8 * place, value)

    def add(self, process: int, word: str, number: int = 1) -> None:
        place = COUNTERS + process * WORDS + REPORTED.index(word)
        self.put(place, self.get(place) + number)


def worker(number: int, board: Board) -> None:
    """One process, until it is killed. Every fourth one writes as well."""
    import django

    django.setup()
    from caching import counts
    from routers import ShardMap, account_context
    from routers.shard_map import use_map

    use_map(ShardMap.even(["shard01", "shard02"]))
    random.seed(os.getpid())
    while True:
        account = random.randrange(len(ACCOUNTS))
        with account_context(ACCOUNTS[account]):
            for _ in range(50):
                if number % 4 == 0 and random.random() < 0.3:
                    _write(number, board, account)
                else:
                    _read(number, board, account)
        for outcome, word in (("hit", "hits"), ("miss", "misses")):
            board.add(number, word, counts.outcomes.pop(("shelf.Book", outcome), 0))


def _read(number: int, board: Board, account: int) -> None:
    from django.db import Error, connections

    from tests.unit.site.caching.shelf.models import Book

    row, way = random.randrange(ROWS), random.randrange(4)
    floors = [board.get(account * ROWS + one) for one in range(ROWS)]
    try:
        if way < 2:
            seen = {row: Book.objects.get(title=str(row)).copies}
        elif way == 2:
            books = Book.objects.select_related("author").order_by("title")[:20]
            seen = {int(book.title): book.copies for book in books}
        else:
            pairs = Book.objects.values_list("title", "copies").order_by("-title")
            seen = {int(title): copies for title, copies in pairs}
    except Error:
        board.add(number, "errors")
        connections.close_all()
        return
    board.add(number, "reads")
    for one, copies in seen.items():
        if copies < floors[one]:
            board.add(number, "stale")
            print(f"row {one} of {account}: {copies}, known {floors[one]}, way {way}", flush=True)


def _write(number: int, board: Board, account: int) -> None:
    from django.db import Error, connections
    from django.db.models import F

    from routers import account_atomic
    from tests.unit.site.caching.shelf.models import Book

    row, way = random.randrange(ROWS), random.randrange(4)
    one = Book.objects.no_cache().filter(title=str(row))
    try:
        if way == 0:
            one.update(copies=F("copies") + 1)
            made = None
        else:
            with account_atomic():
                book = one.select_for_update(of=("self",)).get()
                book.copies += 1
                if way == 1:
                    book.save()
                else:
                    Book.objects.bulk_update([book], ["copies"])
                if way == 3:
                    sleep(random.random() / 100)
                made = book.copies
    except Error:
        board.add(number, "errors")
        connections.close_all()
        return
    board.add(number, "writes")
    if made is not None and made > board.get(account * ROWS + row):
        board.put(account * ROWS + row, made)


def trouble(server: Any, processes: list[Any], start: Any, done: Counter[str]) -> None:
    """One accident."""
    kind = random.choice(["kill", "kill", "flush", "freeze", "restart", "older copy", "none"])
    done[kind] += 1
    if kind == "kill":
        number = random.randrange(len(processes))
        processes[number].kill()
        processes[number].wait()
        processes[number] = start(number)
    elif kind == "flush":
        with server.client as client:
            client.flushall()
    elif kind == "freeze":
        with server.frozen():
            sleep(random.random())
    elif kind in ("restart", "older copy"):
        if kind == "older copy":
            with server.client as client:
                client.execute_command("SAVE")
            sleep(random.random())
        server.kill()
        sleep(random.random() / 2)
        server.start()
        (server.directory / "dump.rdb").unlink(missing_ok=True)


def stress(seconds: float, processes: int) -> tuple[Counter[str], Counter[str]]:
    """What the processes did together, and the accidents."""
    from tests.unit.site.caching.redis_server import RedisServer

    directory = Path(tempfile.mkdtemp())
    server = RedisServer(int(os.environ["CACHING_TEST_PORT"]), directory)
    server.start()
    board, accidents = Board(directory / "board", processes), Counter[str]()
    _fill()

    def start(number: int) -> Any:
        command = [sys.executable, "-m", "tests.bench.staleness", "--worker", str(number)]
        command += ["--board", str(directory / "board"), "--processes", str(processes)]
        return subprocess.Popen(command, cwd=CHECKOUT, env={**os.environ, "PYTHONPATH": PYTHONPATH})

    running = [start(number) for number in range(processes)]
    try:
        until = monotonic() + seconds
        while monotonic() < until:
            sleep(random.uniform(0.5, 2.5))
            trouble(server, running, start, accidents)
    finally:
        for process in running:
            process.send_signal(signal.SIGKILL)
            process.wait()
        server.kill()
    total: Counter[str] = Counter()
    for number in range(processes):
        for place, word in enumerate(REPORTED):
            total[word] += board.get(COUNTERS + number * WORDS + place)
    return total, accidents


def _fill() -> None:
    import django

    django.setup()
    from routers import ShardMap, account_context
    from routers.shard_map import use_map
    from tests.unit.site.caching.shelf.models import Author, Book

    use_map(ShardMap.even(["shard01", "shard02"]))
    for account in ACCOUNTS:
        with account_context(account):
            Book.objects.all().delete()
            author = Author.objects.create(name="A")
            Book.objects.bulk_create([Book(title=str(row), author=author) for row in range(ROWS)])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.staleness", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--worker", type=int)
    parser.add_argument("--board", type=Path)
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", SETTINGS)
    os.environ.setdefault("CACHING_TEST_PORT", "26391")
    if options.worker is not None:
        worker(options.worker, Board(options.board, options.processes))
        return
    total, accidents = stress(options.seconds, options.processes)
    print(f"{dict(total)} with {dict(accidents)}")
    sys.exit(1 if total["stale"] else 0)


if __name__ == "__main__":
    main()

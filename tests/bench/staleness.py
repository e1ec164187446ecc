"""A stress of the cache: nobody reads anything older than a write that was acknowledged before.

Processes read and write a few rows as fast as they can, by all ways, and are killed at random, as
Redis is: killed, frozen, emptied, replaced by an older copy of itself. Each row has a counter that
only rises, and so has the number of an account's tags. What an acknowledged write has made of it is
noted in memory that all share, and every read has to see at least what stood there when it began,
every row, and nothing that was rolled back.

`python -m tests.bench.staleness --seconds 120 --seed 7`, with FULCRUM_CONFIG and the test servers
running. The seed decides on who does what and on the accidents, not on how they overlap. Every kind
of accident comes once before one comes again. The status is 1 where anything was stale, and 2 where
the time was too short for every kind.
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
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from tests.variants import CHECKOUT, PYTHONPATH

ROWS = 8  # of each account
ACCOUNTS = (91_001, 91_002, 91_003)
COUNTERS = (ROWS + 1) * len(ACCOUNTS)  # of each row, and of an account's tags
TAGS = ROWS  # the counter of the tags
READS = ("get", "list", "tuples", "filter", "count")
WRITES = ("update", "save", "bulk_update", "slow", "recreate", "bulk_create", "undone", "savepoint")
OUTCOMES = ("hit", "miss", "busy", "away", "off")
REPORTED = (*READS, *WRITES, *OUTCOMES, "stale", "failed", "raced")
ACCIDENTS = ("kill", "kill", "flush", "freeze", "restart", "older copy")
NEVER = 1_000_000_000  # what is rolled back
SETTINGS = "tests.unit.site.caching.settings"


class Board:
    """Memory that the processes share: a counter for each row, and what each process has done."""

    def __init__(self, path: Path, processes: int) -> None:
        self.size = 8 * (COUNTERS + processes * len(REPORTED))
        if not path.exists():
            path.write_bytes(b"\0" * self.size)
        with path.open("r+b") as file:
            self.memory = mmap.mmap(file.fileno(), self.size)

    def get(self, place: int) -> int:
        return int(struct.unpack_from("q", self.memory, 8 * place)[0])

    def put(self, place: int, value: int) -> None:
        struct.pack_into("q", self.memory, 8 * place, value)

    def add(self, process: int, word: str, number: int = 1) -> None:
        place = COUNTERS + process * len(REPORTED) + REPORTED.index(word)
        self.put(place, self.get(place) + number)


def worker(number: int, board: Board, seed: str) -> None:
    """One process, until it is killed. Every fourth one writes a lot, the others seldom."""
    import django

    django.setup()
    from caching import counts
    from routers import ShardMap, account_context
    from routers.shard_map import use_map

    use_map(ShardMap.even(["shard01", "shard02"]))
    random.seed(seed)
    share = 0.3 if number % 4 == 0 else 0.003
    while True:
        account = random.randrange(len(ACCOUNTS))
        with account_context(ACCOUNTS[account]):
            for _ in range(50):
                work = _write if random.random() < share else _read
                work(number, board, account * (ROWS + 1))
        for outcome in OUTCOMES:
            seen = [counts.outcomes.pop((f"shelf.{name}", outcome), 0) for name in ("Book", "Tag")]
            board.add(number, outcome, sum(seen))


def _read(number: int, board: Board, first: int) -> None:
    """`first`: the account's first counter."""
    from django.db import Error, connections

    row, way = random.randrange(ROWS), random.choice(READS)
    floors = [board.get(first + one) for one in range(ROWS + 1)]
    try:
        seen = _seen(way, row)
    except Error:
        board.add(number, "failed")
        connections.close_all()
        return
    board.add(number, way)
    expected = {"count": {TAGS}, "get": {row}, "filter": {row}}.get(way, set(range(ROWS)))
    wrong = {one for one, value in seen.items() if not floors[one] <= value < NEVER}
    if wrong or seen.keys() != expected:
        board.add(number, "stale")
        print(f"{way} in {first}: {seen}, known {floors}", flush=True)


def _seen(way: str, row: int) -> dict[int, int]:
    """Row, or TAGS → its counter."""
    from tests.unit.site.caching.shelf.models import Book, Tag

    if way == "count":
        return {TAGS: Tag.objects.count()}
    if way == "tuples":
        pairs = Book.objects.values_list("title", "copies").order_by("-title")
        return {int(title): copies for title, copies in pairs}
    books = Book.objects.filter(title=str(row))
    if way == "get":
        with suppress(Book.DoesNotExist):
            return {row: Book.objects.get(title=str(row)).copies}
        return {}
    if way == "list":
        books = Book.objects.select_related("author").order_by("title")[:20]
    return {int(book.title): book.copies for book in books}


def _write(number: int, board: Board, first: int) -> None:
    from django.db import Error, connections

    from tests.unit.site.caching.shelf.models import Book

    row, way = random.randrange(ROWS), random.choice(WRITES)
    try:
        counter, made = _made(way, row)
    except Book.DoesNotExist:  # somebody has made it anew while this one waited for its lock
        board.add(number, "raced")
        return
    except Error:
        board.add(number, "failed")
        connections.close_all()
        return
    board.add(number, way)
    if made > board.get(first + counter):
        board.put(first + counter, made)


def _made(way: str, row: int) -> tuple[int, int]:
    """(counter, what it was at least when the write had returned)."""
    from django.db.models import F

    from routers import account_atomic
    from tests.unit.site.caching.shelf.models import Book, Tag

    one = Book.objects.no_cache().filter(title=str(row))
    if way == "bulk_create":
        Tag.objects.bulk_create([Tag(name="one"), Tag(name="more")])
        return TAGS, Tag.objects.no_cache().count()
    if way == "update":
        one.update(copies=F("copies") + 1)
        return row, one.get().copies
    made = 0
    with suppress(Undone), account_atomic():
        made = _made_in_transaction(way, one.select_for_update(of=("self",)).get())
    return row, made


def _made_in_transaction(way: str, book: Any) -> int:
    """The row's counter, once it is committed. Raises Undone."""
    from routers import account_atomic
    from tests.unit.site.caching.shelf.models import Book

    if way in ("undone", "savepoint"):
        before = book.copies
        with suppress(Undone if way == "savepoint" else ()), account_atomic():
            book.copies = NEVER
            book.save()
            raise Undone
        book.copies = before
    book.copies += 1
    if way == "recreate":
        author = book.author_id
        book.delete()
        Book.objects.create(title=book.title, copies=book.copies, author_id=author)
    elif way == "bulk_update":
        Book.objects.bulk_update([book], ["copies"])
    else:
        book.save()
    if way == "slow":
        sleep(random.random() / 100)
    return int(book.copies)


class Undone(Exception):
    """Rolls a transaction back."""


def drawn() -> Iterator[str]:
    """Accidents without end: all of them in some order, then in another."""
    while True:
        yield from random.sample(ACCIDENTS, len(ACCIDENTS))


def trouble(kind: str, server: Any, processes: list[Any], start: Any) -> None:
    """One accident."""
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


def stress(
    seconds: float, processes: int, seed: int, every: float
) -> tuple[Counter[str], Counter[str]]:
    """What the processes did together, and the accidents."""
    from tests.unit.site.caching.redis_server import RedisServer

    directory = Path(tempfile.mkdtemp())
    server = RedisServer(int(os.environ["CACHING_TEST_PORT"]), directory)
    server.start()
    board, accidents = Board(directory / "board", processes), Counter[str]()
    _fill()

    random.seed(seed)
    lives = Counter[int]()

    def start(number: int) -> Any:
        lives[number] += 1
        command = [sys.executable, "-m", "tests.bench.staleness", "--worker", str(number)]
        command += ["--board", str(directory / "board"), "--processes", str(processes)]
        command += ["--lives", f"{seed} {number} {lives[number]}"]
        return subprocess.Popen(command, cwd=CHECKOUT, env={**os.environ, "PYTHONPATH": PYTHONPATH})

    running = [start(number) for number in range(processes)]
    kinds, until = drawn(), monotonic() + seconds
    try:
        while monotonic() < until:
            sleep(random.uniform(0.5, 1.5) * every)
            kind = next(kinds)
            trouble(kind, server, running, start)
            accidents[kind] += 1
    finally:
        for process in running:
            process.send_signal(signal.SIGKILL)
            process.wait()
        server.kill()
    total: Counter[str] = Counter()
    for number in range(processes):
        for place, word in enumerate(REPORTED):
            total[word] += board.get(COUNTERS + number * len(REPORTED) + place)
    return total, accidents


def _fill() -> None:
    import django

    django.setup()
    from routers import ShardMap, account_context
    from routers.shard_map import use_map
    from tests.unit.site.caching.shelf.models import Author, Book, Tag

    use_map(ShardMap.even(["shard01", "shard02"]))
    for account in ACCOUNTS:
        with account_context(account):
            Book.objects.all().delete()
            Tag.objects.all().delete()
            author = Author.objects.create(name="A")
            Book.objects.bulk_create([Book(title=str(row), author=author) for row in range(ROWS)])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.staleness", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--worker", type=int)
    parser.add_argument("--board", type=Path)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument(
        "--every", type=float, default=1.5, help="seconds from accident to accident"
    )
    parser.add_argument("--lives", default="", help="a worker's own seed")
    options = parser.parse_args()
    if not os.environ.get("FULCRUM_CONFIG"):
        parser.error("FULCRUM_CONFIG has to name the test servers' site.json, under .cluster/test")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", SETTINGS)
    os.environ.setdefault("CACHING_TEST_PORT", "26391")
    if options.worker is not None:
        worker(options.worker, Board(options.board, options.processes), options.lives)
        return
    print(f"--seed {options.seed} --processes {options.processes} --seconds {options.seconds}")
    total, accidents = stress(options.seconds, options.processes, options.seed, options.every)
    missed = set(ACCIDENTS) - set(accidents)
    print(report(total, accidents, options.seconds))
    if missed:
        print(f"NOT TRIED: {', '.join(sorted(missed))}. Take more --seconds, or less --every.")
    sys.exit(1 if total["stale"] else 2 if missed else 0)


def report(total: Counter[str], accidents: Counter[str], seconds: float) -> str:
    """The figures, one line for each kind."""

    def line(title: str, counted: Counter[str], words: Iterable[str]) -> str:
        number = sum(counted[word] for word in words)
        parts = ", ".join(f"{word} {counted[word]:,}" for word in words)
        return f"{title:<10}{number:>11,}   {parts}"

    reads = sum(total[word] for word in READS)
    lines = [
        f"STALE     {total['stale']:>11,}   of {reads:,} reads, {reads / seconds:,.0f} a second",
        line("reads", total, READS),
        line("writes", total, WRITES),
        line("refused", total, ("failed", "raced")),
        line("the cache", total, OUTCOMES),
        line("accidents", accidents, sorted(set(ACCIDENTS))),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()

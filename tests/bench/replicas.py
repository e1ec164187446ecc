"""Reads from a replica while somebody writes: is one ever too old, how many does it take over, and
what does choosing cost.

A writer writes one number after another to some accounts, and notes each when it is acknowledged,
where all processes see it. A reader looks there first, then reads the account in a unit of work of
its own: what it gets must not be older. So every read is held against the last write of anybody.
The replica is measured as it is, with its replay paused and resumed in turns, and without writes.
"""

import json
import mmap
import random
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table

from tests.cluster.harness import Cluster
from tests.cluster.replicas_worker import configure
from tests.variants import CHECKOUT, Variant

__all__ = ["Phase", "replicas_table"]

BENCH_REPLICAS = Variant("bench_replicas", shift=2_300, toy=True, replica=True)
REPLICA = "shard01_replica"
ACCOUNTS, READERS, READS = 40, 3, 4_000
PAUSE_SECONDS = 0.5
WRITE_EVERY_SECONDS = 0.02
CELL = struct.Struct("<Q")


@dataclass
class Phase:
    """`older`: reads that missed an acknowledged write. `whys`: why a read was where it was."""

    name: str
    reads: int = 0
    older: int = 0
    writes: int = 0
    whys: Counter[str] = field(default_factory=Counter)

    @property
    def from_replicas(self) -> float:
        """The share of reads that a replica answered."""
        return self.whys["caught up"] / max(self.reads, 1)


def replicas_table() -> Table:
    """The phases, and under them what choosing costs."""
    heads = ("phase", "reads", "older", "writes", "by the replica", "the others")
    table = Table(*heads, title=f"reads from a replica, {READERS} readers, {ACCOUNTS} accounts")
    with cluster() as root:
        for phase in bench_phases(root):
            others = ((why, n) for why, n in phase.whys.most_common() if why != "caught up")
            figures = f"{phase.reads:,}", str(phase.older), f"{phase.writes:,}"
            share, rest = f"{phase.from_replicas:.1%}", ", ".join(f"{n} {why}" for why, n in others)
            table.add_row(phase.name, *figures, share, rest)
        costs = bench_choice(root)
    added = statistics.median(costs.pop("us"))
    ratios = ", ".join(f"{what}: {statistics.median(r):.2f}" for what, r in costs.items())
    table.caption = (
        f"a unit of work with replicas / without: {ratios}; the choice adds {added:.0f} us"
    )
    return table


@contextmanager
def cluster() -> Iterator[Path]:
    """A cluster with a replica and the tables, thrown away afterwards; yields its root."""
    made = Cluster(BENCH_REPLICAS.describe(), BENCH_REPLICAS.root)
    made.up()
    try:
        with _process(made.root, "make", role="owner") as owner:
            owner.wait()
        yield made.root
    finally:
        made.run("clean", "--yes")


def bench_phases(root: Path, reads: int = READS) -> Iterator[Phase]:
    """Three phases with as many reads each: 12,000 in all."""
    for name, writing, lagging in (
        ("nobody writes", False, False),
        ("a writer, replay as it is", True, False),
        ("a writer, replay paused half of the time", True, True),
    ):
        yield _phase(root, Phase(name), reads, writing, lagging)


def bench_choice(root: Path, rounds: int = 7, times: int = 100) -> dict[str, list[float]]:
    """What a unit of work does → ratios of its time with replicas to that without, one a round.

    Under "us" are the microseconds that the choice adds to a unit with one read.
    """
    found: dict[str, list[float]] = {}
    with _process(root, "cost") as apart, _process(root, "cost", replicas=False) as plain:
        for _ in range(rounds):
            for reads in (1, 5, 20):
                ours, base = (_asked(side, reads, times) for side in (apart, plain))
                found.setdefault(f"{reads} reads", []).append(ours / base)
                if reads == 1:
                    found.setdefault("us", []).append((ours - base) / 1000)
    return found


def _phase(root: Path, phase: Phase, reads: int, writing: bool, lagging: bool) -> Phase:
    stop = threading.Event()
    shaking = threading.Thread(target=_shake, args=(root, stop))
    with tempfile.NamedTemporaryFile() as noted:
        noted.write(bytes(CELL.size * ACCOUNTS))
        noted.flush()
        with _process(root, "write", noted=noted.name, writing=writing) as writer:
            writer.stdout.readline()  # every account has been written once
            if lagging:
                shaking.start()
            share = reads // READERS + 1
            readers = [
                _process(root, "read", noted=noted.name, reads=share) for _ in range(READERS)
            ]
            for process in readers:
                with process as reader:
                    _add(phase, json.loads(reader.communicate()[0]))
            stop.set()
            writer.stdin.close()
            phase.writes = int(writer.stdout.readline())
    if lagging:
        shaking.join()
    return phase


def _add(phase: Phase, answer: dict[str, Any]) -> None:
    phase.reads += answer["reads"]
    phase.older += answer["older"]
    phase.whys.update(answer["whys"])


def _shake(root: Path, stop: threading.Event) -> None:
    """Pause the replay and resume it, in turns; resumed at the end."""
    made = Cluster(BENCH_REPLICAS.describe(), root)
    with closing(made.connect(REPLICA, "admin")) as connection, connection.cursor() as cursor:
        pausing = True
        while not stop.wait(PAUSE_SECONDS):
            cursor.execute(f"SELECT pg_wal_replay_{'pause' if pausing else 'resume'}()")
            pausing = not pausing
        cursor.execute("SELECT pg_wal_replay_resume()")


def _process(root: Path, do: str, role: str = "app", **options: Any) -> Any:
    name = "site.json" if role == "app" else f"site-{role}.json"
    command = [sys.executable, "-m", "tests.bench.replicas", str(root / name), do]
    return subprocess.Popen(
        [*command, json.dumps(options)],
        cwd=CHECKOUT,
        env={"PYTHONPATH": f"{CHECKOUT}:{CHECKOUT / 'site'}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _asked(side: Any, reads: int, times: int) -> float:
    side.stdin.write(f"{reads} {times}\n")
    side.stdin.flush()
    return float(side.stdout.readline())


# In the processes


def main(config: str, do: str, options: dict[str, Any]) -> None:
    given = json.loads(Path(config).read_text())
    if not options.pop("replicas", True):
        given["databases"].pop(REPLICA)
    configure(given, {})
    WORK[do](**options)


def make() -> None:
    """The tables."""
    from tests.cluster.replicas_worker import make as make_tables

    make_tables()


def write(noted: str, writing: bool) -> None:
    """Write to each account once, say so, and go on until standard input ends."""
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    cells = _cells(noted)
    for account in range(1, ACCOUNTS + 1):
        _write(cells, account, 1)
    print("ready", flush=True)
    writes, number = 0, 1
    while not ended.wait(WRITE_EVERY_SECONDS):
        if writing:
            number += 1
            _write(cells, random.randint(1, ACCOUNTS), number)
            writes += 1
    print(writes, flush=True)


def _write(cells: mmap.mmap, account: int, number: int) -> None:
    from routers import account_atomic, account_context
    from tests.unit.routers.shop.models import Order

    with account_context(account), account_atomic():
        if not Order.objects.update(title=str(number)):
            Order.objects.create(title=str(number))
    CELL.pack_into(cells, CELL.size * (account - 1), number)


def read(noted: str, reads: int) -> None:
    """Read accounts at random; prints what came of it."""
    from routers import account_context
    from routers.replicas import units
    from tests.unit.routers.shop.models import Order

    cells, older = _cells(noted), 0
    for _ in range(reads):
        account = random.randint(1, ACCOUNTS)
        [acknowledged] = CELL.unpack_from(cells, CELL.size * (account - 1))
        with account_context(account):
            older += int(Order.objects.get().title) < acknowledged
    whys = Counter({why: number for (_, why), number in units.served.items()})
    print(json.dumps({"reads": reads, "older": older, "whys": whys}), flush=True)


def cost() -> None:
    """Nanoseconds of a unit of work with so many reads: a line "READS TIMES" each."""
    from routers import account_context
    from tests.unit.routers.shop.models import Order

    def unit(reads: int) -> None:
        with account_context(1):
            for _ in range(reads):
                Order.objects.get()

    for line in sys.stdin:
        reads, times = map(int, line.split())
        unit(reads)
        unit(reads)
        spent = []
        for _ in range(times):
            began = time.perf_counter_ns()
            unit(reads)
            spent.append(time.perf_counter_ns() - began)
        print(statistics.median(spent), flush=True)


def _cells(noted: str) -> mmap.mmap:
    with Path(noted).open("r+b") as file:
        return mmap.mmap(file.fileno(), 0)


WORK: dict[str, Callable[..., None]] = {"make": make, "write": write, "read": read, "cost": cost}

if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))

"""`kill -9` of each process while people write: how long it is away, and what that costs."""

import contextlib
import os
import signal
from dataclasses import dataclass

from rich.table import Table

from tests.bench.cluster import BENCH, config, login, manage, superuser
from tests.cluster.harness import Cluster, eventually
from tests.visitor import Visitor
from tests.writer import Writer

__all__ = ["Crash", "bench_crashes", "crashes_table"]

ACCOUNTS = {"acme-analytics": 1, "alder-robotics": 2}  # the first two, on different shards
PROCESSES = ("default", "shard02", "pooler", "cache", "broker", "web", "worker", "beat")


@dataclass
class Crash:
    """One kill, and what two writers on different shards saw of it.

    `seconds` is the longest time without an acknowledgement; `elsewhere` the errors of the writer
    whose shard was not killed (None where all accounts are concerned).
    """

    process: str
    seconds: float
    acknowledged: int
    refused: int
    unanswered: int
    lost: int
    elsewhere: int | None


def bench_crashes() -> list[Crash]:
    """Kill each process once; writers on two shards run through it."""
    cluster = Cluster(BENCH.describe(), BENCH.root)
    homes = {
        manage("shards", "where", str(account)).split()[0]: slug
        for slug, account in ACCOUNTS.items()
    }
    return [_crash(cluster, homes, process) for process in PROCESSES]


def _crash(cluster: Cluster, homes: dict[str, str], process: str) -> Crash:
    writers = {shard: _writer(slug) for shard, slug in homes.items()}
    for writer in writers.values():
        eventually(lambda writer=writer: len(writer.acknowledged) > 5)
    pid = cluster.pids()[process]
    os.kill(pid, signal.SIGKILL)
    cluster.wait_for_another(process, pid)
    for writer in writers.values():
        before = len(writer.acknowledged)
        eventually(lambda w=writer, b=before: len(w.acknowledged) > b + 5)
    for writer in writers.values():
        writer.stop()
    both = writers.values()
    elsewhere = [writer.errors for shard, writer in writers.items() if shard != process]
    return Crash(
        process,
        max(writer.longest_silence for writer in both),
        sum(len(writer.acknowledged) for writer in both),
        sum(len(writer.refused) for writer in both),
        sum(writer.unanswered for writer in both),
        sum(_lost(shard, writer) for shard, writer in writers.items()),
        sum(elsewhere) if process in homes else None,
    )


def _writer(slug: str) -> Writer:
    return Writer(Visitor(config()["public_url"]).log_in(*login()), slug)


def _lost(shard: str, writer: Writer) -> int:
    """Acknowledged invitations that are not in the shard's table."""
    sql = "SELECT code FROM assessments_testsession WHERE code = ANY(%s)"
    with contextlib.closing(superuser(shard)) as connection, connection.cursor() as cursor:
        cursor.execute(sql, [writer.acknowledged])
        return len(set(writer.acknowledged) - {code for (code,) in cursor.fetchall()})


def crashes_table() -> Table:
    """What a kill of each process costs."""
    heads = ("killed", "longest silence s", "acknowledged", "503", "no answer", "lost", "elsewhere")
    table = Table(*heads, title="kill -9 of each process, two writers on two shards")
    for crash in bench_crashes():
        figures = (crash.acknowledged, crash.refused, crash.unanswered, crash.lost)
        elsewhere = "" if crash.elsewhere is None else str(crash.elsewhere)
        table.add_row(crash.process, f"{crash.seconds:.1f}", *map(str, figures), elsewhere)
    return table

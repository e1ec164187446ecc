"""`make bench`: what the site does on this machine, as ratios of one interleaved run."""

import argparse
import json
import statistics
import subprocess
import sys
import urllib.request

from rich.console import Console
from rich.table import Table

from tests.bench.catalog import HOW, accounts_to_invite_in, outage
from tests.bench.cluster import BENCH, config, infra, login, manage
from tests.bench.crashes import bench_crashes
from tests.bench.fan_out import bench_fan_out
from tests.bench.migrating import migrating_table
from tests.bench.pages import CLIENTS, REQUESTS, bench_pages
from tests.bench.replicas import replicas_table
from tests.bench.routing import TIMES, bench_routing, nanoseconds
from tests.bench.seeding import bench_seeding
from tests.bench.startup import bench_startup
from tests.variants import CHECKOUT, TEST
from tests.visitor import Visitor

ACCOUNTS = 200
OUTAGE_CLIENTS, OUTAGE_SECONDS = 6, 60
PARTS = (
    "routing",
    "startup",
    "seeding",
    "migrating",
    "fan_out",
    "replicas",
    "pages",
    "crashes",
    "catalog",
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}: all")
    parser.add_argument("--sessions", type=int, default=1_000_000)
    parser.add_argument("--keep", action="store_true", help="leave the cluster and its data")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    console = Console(width=110)
    infra("up")
    try:
        for part in options.parts or PARTS:
            console.print(globals()[f"_{part}"](options.sessions))
    finally:
        if not options.keep:
            infra("clean", "--yes")


def _routing(sessions: int) -> Table:
    spent = ", ".join(f"{name} {value:.0f} ns" for name, value in nanoseconds().items())
    table = Table("query", "plain us", "ratio", "of the rounds", title=f"routing: {spent}")
    for found in bench_routing(21):
        spread = f"{min(found.ratios):.2f} to {max(found.ratios):.2f}"
        median = statistics.median(found.ratios)
        table.add_row(found.query, f"{found.plain_us:.0f}", f"{median:.3f}", spread)
    table.caption = f"21 rounds of {TIMES}, plain and routed in turn"
    return table


def _replicas(sessions: int) -> Table:
    return replicas_table()


def _startup(sessions: int) -> Table:
    up = [sys.executable, "-m", "infra", *TEST.options(), "up", "--only", "servers"]
    subprocess.run(up, cwd=CHECKOUT, check=True)
    seconds = bench_startup(7, TEST)
    table = Table("test databases made on", "median s", "ratio", title="start of the unit tests")
    base = statistics.median(next(iter(seconds.values())))
    for engine, values in seconds.items():
        median = statistics.median(values)
        table.add_row(engine, f"{median:.2f}", f"{median / base:.1f}")
    return table


def _seeding(sessions: int) -> Table:
    table = Table("round", "rows", "seed_demo rows/s", "psql rows/s", "ratio", title="seed_demo")
    rounds = bench_seeding(ACCOUNTS, sessions)
    for number, done in enumerate(rounds, start=1):
        rates = done.rows / done.seed_seconds, done.psql_rows / done.psql_seconds
        table.add_row(
            str(number), f"{done.rows:,}", *(f"{rate:,.0f}" for rate in rates), f"{done.ratio:.2f}"
        )
    if rounds:
        median = statistics.median(done.ratio for done in rounds)
        table.add_row("median", "", "", "", f"{median:.2f}")
    return table


def _migrating(sessions: int) -> Table:
    return migrating_table(3)


def _fan_out(sessions: int) -> Table:
    table = Table("read", "shards", "slowest ms", "fan_out ms", "ratio", "to all in turn")
    table.title = "fan_out, against the slowest shard alone and all shards one after another"
    for figure in bench_fan_out():
        times = (statistics.median(each) * 1000 for each in (figure.slowest, figure.together))
        ratios = (figure.ratio(figure.slowest), figure.ratio(figure.in_turn))
        shown = (*(f"{each:.1f}" for each in times), *(f"{each:.2f}" for each in ratios))
        table.add_row(figure.read, str(figure.shards), *shown)
    return table


def _pages(sessions: int) -> Table:
    manage("seed_demo", "--accounts", str(ACCOUNTS), "--sessions", str(sessions))
    title = f"pages with {sessions:,} sessions, {CLIENTS} clients, {REQUESTS} requests each"
    table = Table("page", "p50 ms", "p95 ms", title=title)
    for page in bench_pages("acme-analytics"):
        table.add_row(page.page, f"{page.p50:.0f}", f"{page.p95:.0f}")
    return table


def _crashes(sessions: int) -> Table:
    heads = ("killed", "longest silence s", "acknowledged", "503", "no answer", "lost", "elsewhere")
    table = Table(*heads, title="kill -9 of each process, two writers on two shards")
    for crash in bench_crashes():
        figures = (crash.acknowledged, crash.refused, crash.unanswered, crash.lost)
        elsewhere = "" if crash.elsewhere is None else str(crash.elsewhere)
        table.add_row(crash.process, f"{crash.seconds:.1f}", *map(str, figures), elsewhere)
    return table


def _catalog(sessions: int) -> Table:
    url = config()["public_url"]
    heads = ("catalog", "seconds", "requests", "errors", "slowest s", "known again after s")
    table = Table(*heads, title="the catalog away under load, known accounts and people")
    for how in HOW:
        visitor = Visitor(url).log_in(*login())
        slugs = accounts_to_invite_in(visitor)[:OUTAGE_CLIENTS]
        seen = outage(how, BENCH.root, visitor, slugs, _has_catalog, OUTAGE_SECONDS)
        errors = ", ".join(f"{n} {what}" for what, n in sorted(seen.errors.items())) or "0"
        figures = f"{seen.seconds:.0f}", f"{seen.answers.total():,}", errors
        table.add_row(how, *figures, f"{seen.slowest:.1f}", f"{seen.back_after:.1f}")
    return table


def _has_catalog() -> bool:
    with urllib.request.urlopen(f"{config()['public_url']}/readyz", timeout=10) as answer:  # noqa: S310
        return json.load(answer)["degraded"] == []


if __name__ == "__main__":
    print(f"The cluster that is measured is {BENCH.root}.", flush=True)
    main()

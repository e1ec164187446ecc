"""The leaderboard under a stampede, and the live map from a write to a browser's pixel."""

import pickle
import random
import shutil
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import redis
from playwright.sync_api import Page, sync_playwright
from rich.console import Group
from rich.table import Table

from tests.bench.cluster import SHARDS, config, environment, superuser
from tests.bench.crowd import Viewers, crowd
from tests.bench.side import Side
from tests.variants import CHECKOUT

__all__ = ["bench_board", "bench_map", "live_tables"]

CROWD = 500
ROUNDS = 5
VIEWERS = 200
STARTS = 40
QUIET_SECONDS = 12.0
DEADLINE_SECONDS = 30.0
SLUG = "bench-over"  # it has ended, so beat leaves it alone
VALUE = f"prepared:{{contests.board:{SLUG}}}:value"
WATCH = """() => {
  window.seen = [];
  let known = new Set([...document.querySelectorAll("[data-key]")].map((e) => e.dataset.key));
  new MutationObserver(() => {
    for (const line of document.querySelectorAll("[data-key]")) {
      if (known.has(line.dataset.key)) continue;
      known.add(line.dataset.key);
      requestAnimationFrame(() => requestAnimationFrame(() => window.seen.push(Date.now())));
    }
  }).observe(document.querySelector("[data-starts]"), { childList: true });
}"""

SEEN = """([number, most]) => new Promise((resolve, reject) => {
  setTimeout(() => reject(new Error("not seen in time")), most);
  const look = () => {
    if (window.seen.length > number) resolve(window.seen[number]);
    else setTimeout(look, 5);
  };
  look();
})"""


@dataclass
class Board:
    """Of one state of the board when the crowd comes: computations of each round, what was seen."""

    computed: list[int] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)


@dataclass
class Map:
    """Milliseconds from write to pixel; queries a second on all shards; what viewers got."""

    milliseconds: list[float]
    quiet: float
    viewed: float
    viewers: Viewers


def bench_board(url: str) -> dict[str, Board]:
    """State of the board → what came of a crowd."""
    found = {"fresh": Board(), "expired": Board(), "none yet": Board()}
    prepare: dict[str, Callable[[Any], None]] = {
        "fresh": lambda client: None,
        "expired": _expire,
        "none yet": lambda client: client.delete(VALUE),
    }
    crowd(url, f"/contests/{SLUG}/board/", 1)
    with redis.Redis.from_url(config()["cache"]) as client:
        for _ in range(ROUNDS):
            for state, board in found.items():
                _until(lambda: _age(client) < 15)  # of the 20 s that it is fresh
                prepare[state](client)
                with _computed(client) as computed:
                    replies = crowd(url, f"/contests/{SLUG}/board/", CROWD)
                    _until(lambda: _age(client) < 20)
                board.computed.append(len(computed))
                board.seconds += [reply.seconds for reply in replies]
                for reply in replies:
                    said = reply.headers.get("cache-status", "").rpartition("=")[2]
                    board.seen[f"{reply.status} {said}"] += 1
                _expire(client)
                crowd(url, f"/contests/{SLUG}/board/", 1)
    return found


@contextmanager
def _computed(client: Any) -> Iterator[list[str]]:
    """Collects every answer that is stored, as Redis sees it."""
    stored: list[str] = []
    with client.monitor() as monitor:
        last = f"bench:{time.time_ns()}"

        def watch() -> None:
            for command in monitor.listen():
                text = command["command"]
                if last in text:
                    return
                if text.startswith("EVAL") and VALUE in text:
                    stored.append(text)

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        yield stored
        client.get(last)
        thread.join(DEADLINE_SECONDS)


def _age(client: Any) -> float:
    found = client.get(VALUE)
    return time.time() - pickle.loads(found)[1] if found else float("inf")  # noqa: S301 - our own


def _expire(client: Any) -> None:
    value, _, digest = pickle.loads(client.get(VALUE))  # noqa: S301 - our own
    client.set(VALUE, pickle.dumps((value, time.time() - 3600, digest)))


def bench_map(url: str, worker: Side) -> Map:
    """A browser's map, first alone, then with many other viewers."""
    crowd(url, "/", 1)
    time.sleep(2)  # the counter is being counted
    quiet = _queries_per_second()
    with Viewers(url, "/starts.json", VIEWERS) as viewers:
        viewed = _queries_per_second()
        with sync_playwright() as playwright:
            chromium = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
            )
            page = chromium.new_page()
            page.goto(url)
            page.evaluate(WATCH)
            milliseconds = [_to_the_pixel(page, worker, n) for n in range(STARTS)]
            chromium.close()
    return Map(milliseconds, quiet, viewed, viewers)


def _to_the_pixel(page: Page, worker: Side, number: int) -> float:
    """From before the transaction begins to the frame after the one that shows it."""
    time.sleep(random.random())  # any moment between two questions of the page
    began = float(worker.answer("start", DEADLINE_SECONDS))
    return float(page.evaluate(SEEN, [number, 1000 * DEADLINE_SECONDS])) - 1000 * began


def _queries_per_second() -> float:
    """Transactions of the application on all shards, in a time without a write."""
    before, began = _transactions(), time.monotonic()
    time.sleep(QUIET_SECONDS)
    return (_transactions() - before) / (time.monotonic() - began)


def _transactions() -> int:
    total = 0
    for shard in SHARDS:
        connection = superuser(shard, "postgres")
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = %s",
                [shard],
            )
            total += cursor.fetchone()[0]
        connection.close()
    return total


def _until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


def live_tables() -> Group:
    """Both, in less than three minutes."""
    url = config()["public_url"]
    script = str(CHECKOUT / "tests" / "bench" / "live_worker.py")
    worker = Side([sys.executable, script], {"slug": SLUG, "starts": STARTS}, environment())
    try:
        assert worker.hear(120).strip() == "ready"
        return Group(_board_table(bench_board(url)), _map_table(bench_map(url, worker)))
    finally:
        worker.stop()


def _board_table(found: dict[str, Board]) -> Table:
    title = f"leaderboard: {CROWD} requests at once, 4 shards, {ROUNDS} rounds"
    columns = ("board", "computed each round", "seen", "p50 ms", "p95 ms", "p99 ms")
    table = Table(*columns, title=title)
    for state, board in found.items():
        seen = ", ".join(f"{n} x {what}" for what, n in board.seen.most_common())
        waits = (f"{1000 * _percentile(board.seconds, p):.0f}" for p in (50, 95, 99))
        table.add_row(state, " ".join(map(str, board.computed)), seen, *waits)
    table.caption = "milliseconds from sending to the last byte, on one machine with the servers"
    return table


def _map_table(found: Map) -> Table:
    title = f"live map: {VIEWERS} viewers who ask each second, {STARTS} starts on all shards"
    table = Table("what", "figure", title=title)
    times = found.milliseconds
    table.add_row("write to pixel, p50 ms", f"{statistics.median(times):.0f}")
    table.add_row("write to pixel, p95 ms", f"{_percentile(times, 95):.0f}")
    table.add_row("transactions a second on all shards, 0 viewers", f"{found.quiet:.2f}")
    table.add_row(f"the same, {VIEWERS} viewers", f"{found.viewed:.2f}")
    viewers = found.viewers
    got = ", ".join(f"{n:,} x {status or 'no answer'}" for status, n in viewers.statuses.items())
    table.add_row("answers to viewers", got)
    waits = [f"{1000 * _percentile(viewers.seconds, p):.0f}" for p in (50, 95)]
    table.add_row("their wait, p50 and p95 ms", " and ".join(waits))
    return table


def _percentile(values: list[float], percent: int) -> float:
    return sorted(values)[min(len(values) * percent // 100, len(values) - 1)]

"""The pages' time at full size, from eight clients at once, over HTTP as a person gets them."""

import re
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from rich.table import Table

from tests.bench.cluster import config, login, manage
from tests.visitor import Visitor

__all__ = ["PageTimes", "bench_pages", "pages_table"]

CLIENTS = 8
REQUESTS = 40  # of each client, for each page


@dataclass
class PageTimes:
    """One page's milliseconds."""

    page: str
    milliseconds: list[float]

    @property
    def p50(self) -> float:
        return statistics.median(self.milliseconds)

    @property
    def p95(self) -> float:
        return statistics.quantiles(self.milliseconds, n=20)[-1]


def bench_pages(slug: str) -> list[PageTimes]:
    """Time each page of the account by itself, so that no page waits for another's queries."""
    first = Visitor(config()["public_url"]).log_in(*login())
    table = f"/a/{slug}/sessions/"
    pages = {
        "dashboard": f"/a/{slug}/",
        "sessions table, newest first": table,
        "sessions table, a page far down": _far_down(first, table),
        "sessions table, best result first": f"{table}?sort=-result",
        "sessions table, by name": f"{table}?sort=name",
        "sessions table, one status": f"{table}?status=closed",
        "sessions table, search": f"{table}?q=lovelace",
    }
    return [PageTimes(name, _times(first, path)) for name, path in pages.items()]


def _times(first: Visitor, path: str) -> list[float]:
    """Milliseconds of every request of eight clients, logged in as `first` is."""

    def client(_: int) -> list[float]:
        visitor = Visitor(config()["public_url"])
        visitor.cookies = dict(first.cookies)
        times = []
        for _ in range(REQUESTS):
            began = time.perf_counter()
            visitor.page(path)
            times.append((time.perf_counter() - began) * 1000)
        return times

    with ThreadPoolExecutor(CLIENTS) as pool:
        return [value for times in pool.map(client, range(CLIENTS)) for value in times]


def _far_down(visitor: Visitor, table: str, pages: int = 40) -> str:
    """The table's address `pages` pages after the first."""
    path = table
    for _ in range(pages):
        text = visitor.page(path)
        found = re.search(r'href="(\?[^"]*\bafter=[^"]+)"', text)
        if not found:
            return path
        path = table + found[1].replace("&amp;", "&")
    return path


def pages_table(accounts: int, sessions: int) -> Table:
    """Milliseconds a page, on data that is seeded first."""
    manage("seed_demo", "--accounts", str(accounts), "--sessions", str(sessions))
    title = f"pages with {sessions:,} sessions, {CLIENTS} clients, {REQUESTS} requests each"
    table = Table("page", "p50 ms", "p95 ms", title=title)
    for page in bench_pages("acme-analytics"):
        table.add_row(page.page, f"{page.p50:.0f}", f"{page.p95:.0f}")
    return table

"""The pages' time at full size, from eight clients at once, over HTTP as a person gets them."""

import re
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.bench.cluster import config, login
from tests.visitor import Visitor

__all__ = ["PageTimes", "bench_pages"]

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
    """Time each page of the account; pages alternate, so that all see the same noise."""
    url = config()["public_url"]
    first = Visitor(url).log_in(*login())
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
    times: dict[str, list[float]] = {name: [] for name in pages}

    def client(_: int) -> None:
        visitor = Visitor(url)
        visitor.cookies = dict(first.cookies)
        for _ in range(REQUESTS):
            for name, path in pages.items():
                began = time.perf_counter()
                visitor.page(path)
                times[name].append((time.perf_counter() - began) * 1000)

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(client, range(CLIENTS)))
    return [PageTimes(name, values) for name, values in times.items()]


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

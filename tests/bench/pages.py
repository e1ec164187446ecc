"""The pages' time at full size, from eight clients at once, over HTTP as a person gets them."""

import http.client
import re
import statistics
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.bench.cluster import config, login

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


class Browser:
    """One client: a connection that is kept, and cookies."""

    def __init__(self, url: str) -> None:
        self.connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=60)
        self.cookies: dict[str, str] = {}

    def request(self, method: str, path: str, form: dict[str, str] | None = None) -> str:
        """The page's text. Raises AssertionError for an answer of 400 or above."""
        body = urllib.parse.urlencode(form) if form else None
        headers = {"Cookie": "; ".join(f"{k}={v}" for k, v in self.cookies.items())}
        if body:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        for cookie in answer.headers.get_all("Set-Cookie", []):
            name, _, value = cookie.split(";")[0].partition("=")
            self.cookies[name] = value
        text = answer.read().decode()
        assert answer.status < 400, f"{method} {path}: {answer.status}"
        return text

    def log_in(self) -> "Browser":
        email, password = login()
        found = re.search(r'csrfmiddlewaretoken" value="([^"]+)', self.request("GET", "/login/"))
        assert found
        form = {"csrfmiddlewaretoken": found[1], "username": email, "password": password}
        self.request("POST", "/login/", form)
        assert "sessionid" in self.cookies
        return self


def bench_pages(slug: str) -> list[PageTimes]:
    """Time each page of the account; pages alternate, so that all see the same noise."""
    url = config()["public_url"]
    first = Browser(url).log_in()
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
        browser = Browser(url)
        browser.cookies = dict(first.cookies)
        for _ in range(REQUESTS):
            for name, path in pages.items():
                began = time.perf_counter()
                browser.request("GET", path)
                times[name].append((time.perf_counter() - began) * 1000)

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(client, range(CLIENTS)))
    return [PageTimes(name, values) for name, values in times.items()]


def _far_down(browser: Browser, table: str, pages: int = 40) -> str:
    """The table's address `pages` pages after the first."""
    path = table
    for _ in range(pages):
        text = browser.request("GET", path)
        found = re.search(r'href="(\?[^"]*\bafter=[^"]+)"', text)
        if not found:
            return path
        path = table + found[1].replace("&amp;", "&")
    return path

"""The catalog away for a minute while people work: what they see of it.

Away in two ways. *Stopped*: its port refuses. *Frozen* (SIGSTOP to all its processes): its
connections stay open and nothing answers, which is the harder one. Clients are logged in and have
been seen before; each asks for pages of its account, and writes to it, as fast as it is answered.
"""

import http.client
import json
import re
import signal
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from rich.table import Table

from infra.layout import Layout
from infra.supervise import Supervisor
from tests.bench.cluster import BENCH, config, login
from tests.cluster.harness import eventually
from tests.visitor import Visitor

__all__ = [
    "HOW",
    "Client",
    "Outage",
    "accounts_to_invite_in",
    "catalog_table",
    "frozen",
    "outage",
    "stopped",
]

CATALOG = "default"
OUTAGE_CLIENTS, OUTAGE_SECONDS = 6, 60


class Client(threading.Thread):
    """A recruiter and a candidate of one account, in turns, until stopped.

    `answers` counts what came by page and status, 0 where none came; `slowest` is in seconds.
    """

    def __init__(self, url: str, first: Visitor, slug: str) -> None:
        super().__init__(daemon=True)
        self.recruiter, self.candidate = Visitor(url), Visitor(url)
        self.recruiter.cookies = dict(first.cookies)
        self.slug, self.test = slug, self.recruiter.first_test(slug)
        self.code = self._invitation()
        self.answers: Counter[tuple[str, int]] = Counter()
        self.slowest = 0.0
        self._stopping = threading.Event()

    def run(self) -> None:
        turns: dict[str, Callable[[], int]] = {
            "dashboard": lambda: self.recruiter.get(f"/a/{self.slug}/").status,
            "sessions": lambda: self.recruiter.get(f"/a/{self.slug}/sessions/").status,
            "report": lambda: self.recruiter.get(f"/a/{self.slug}/sessions/{self.code}/").status,
            "home": lambda: self.recruiter.get("/").status,
            "invite": lambda: 200 if self._invitation() else 500,
            "candidate": lambda: self.candidate.get(f"/c/{self.slug}/{self.code}/").status,
        }
        while not self._stopping.is_set():
            for page, ask in turns.items():
                began = time.monotonic()
                self.answers[page, self._status(ask)] += 1
                self.slowest = max(self.slowest, time.monotonic() - began)

    def stop(self) -> None:
        """End after this turn."""
        self._stopping.set()
        self.join()

    @property
    def total(self) -> int:
        return self.answers.total()

    def _invitation(self) -> str:
        email = f"outage{time.time_ns()}@example.net"
        return self.recruiter.invite(self.slug, self.test, "Someone", email)

    @staticmethod
    def _status(ask: Callable[[], int]) -> int:
        try:
            return ask()
        except AssertionError:  # an invitation that was not made
            return 500
        except (OSError, http.client.HTTPException):
            return 0


@dataclass
class Outage:
    """What the clients of one outage got; `back_after`: seconds until the site had it again."""

    how: str
    seconds: float
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    slowest: float = 0.0
    back_after: float = 0.0

    @property
    def errors(self) -> dict[str, int]:
        """Page and status → how many, of the answers that are none (0) or an error."""
        wrong = {k: n for k, n in self.answers.items() if not 200 <= k[1] < 400}
        return {f"{page}: {status or 'no answer'}": n for (page, status), n in wrong.items()}


def accounts_to_invite_in(visitor: Visitor) -> list[str]:
    """The slugs of the accounts where the visitor may invite."""
    slugs = sorted(set(re.findall(r'href="/a/([\w-]+)/"', visitor.page("/"))))
    return [slug for slug in slugs if visitor.get(f"/a/{slug}/invite/").status == 200]


def outage(
    how: str,
    root: Path,
    first: Visitor,
    slugs: list[str],
    ready: Callable[[], bool],
    seconds: float,
) -> Outage:
    """Take the catalog of the cluster under `root` away for so long, under load; a client a slug.

    `ready` says whether the site has its catalog.
    """
    url = f"http://{first.netloc}"
    clients = [Client(url, first, slug) for slug in slugs]
    for client in clients:
        client.start()
    for client in clients:
        # Two turns at least, so that every process behind the port may have seen it.
        eventually(lambda c=client: c.total > 12)
    result = Outage(how, seconds)
    for client in clients:
        client.answers.clear()
        client.slowest = 0.0
    with HOW[how](root):
        time.sleep(seconds)
    began = time.monotonic()
    eventually(ready)
    result.back_after = time.monotonic() - began
    for client in clients:
        client.stop()
        result.answers.update(client.answers)
        result.slowest = max(result.slowest, client.slowest)
    return result


@contextmanager
def frozen(root: Path, database: str = CATALOG) -> Iterator[None]:
    """Every process of the catalog's PostgreSQL stands still."""
    postmaster = psutil.Process(Supervisor(Layout.at(root)).processes()[database].pid)
    processes = [postmaster, *postmaster.children(recursive=True)]
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)


@contextmanager
def stopped(root: Path, database: str = CATALOG) -> Iterator[None]:
    """The catalog's PostgreSQL does not run."""
    supervisor = Supervisor(Layout.at(root))
    supervisor.stop([database])
    try:
        yield
    finally:
        supervisor.start(database)


HOW = {"stopped": stopped, "frozen": frozen}


def catalog_table() -> Table:
    """What known accounts see while the catalog is away."""
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

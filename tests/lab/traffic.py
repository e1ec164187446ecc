"""Steady traffic on the lab's cluster while a command runs: every answer counted, no write lost.

    python -m tests.lab.traffic --requests 10000 -- .venv/bin/ansible-playbook … ansible/deploy.yml

One client for each demo account reads four pages and then invites a candidate, again and again; so
many requests a second in all as said. Quiet traffic comes first, for the comparison; then the
command runs, and traffic goes on until it has ended and there were enough requests. At the end each
invitation that was acknowledged is looked up.
"""

import argparse
import http.client
import itertools
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.lab.cluster import Cluster
from tests.lab.inventory import INVENTORY
from tests.visitor import DEMO_EMAIL, Answer, Visitor

__all__ = ["Request", "Traffic", "report", "under_traffic"]

QUIET_REQUESTS, REQUESTS = 1_500, 10_000
RATE = 60.0
MOST_SECONDS = 1_500
"""No traffic goes on for longer, whatever the command does."""
LOOKS = 3
"""How often an acknowledged invitation is looked up before it counts as lost."""


@dataclass(frozen=True)
class Request:
    """One request: when it began and how long it took (seconds), and its status; 0 is no answer.

    `problem` is what was wrong with it, or nothing; `again`: it had to be sent twice, as HTTP
    clients do with what may be repeated when a kept connection is closed at that moment.
    """

    began: float
    seconds: float
    account: str
    page: str
    status: int
    problem: str = ""
    again: bool = False


class Client(threading.Thread):
    """A recruiter of one account, `pause` seconds from one request's beginning to the next's."""

    def __init__(self, first: Visitor, slug: str, authority: Path, pause: float) -> None:
        super().__init__(daemon=True, name=slug)
        self.visitor = Visitor(first.url, authority)
        self.visitor.cookies = dict(first.cookies)
        self.slug, self.pause = slug, pause
        self.test = self.visitor.first_test(slug)
        self.done: list[Request] = []
        self.acknowledged: list[str] = []
        self._stopping = threading.Event()

    def run(self) -> None:
        following = time.monotonic()
        for page, ask in itertools.cycle(self._turns()):
            following = max(following + self.pause, time.monotonic() - self.pause)
            self.done.append(self._request(page, ask))
            if self._stopping.wait(max(0.0, following - time.monotonic())):
                return

    def stop(self) -> None:
        """End after the request under way."""
        self._stopping.set()

    def lost(self) -> list[str]:
        """Invitations that were acknowledged and are not there."""
        return [code for code in self.acknowledged if not self._is_there(code)]

    def _turns(self) -> list[tuple[str, Callable[[], Answer]]]:
        reads = {
            "dashboard": f"/a/{self.slug}/",
            "sessions": f"/a/{self.slug}/sessions/",
            "invite form": f"/a/{self.slug}/invite/",
        }
        turns = [(page, lambda path=path: self.visitor.get(path)) for page, path in reads.items()]
        return [*turns, ("report", self._report), ("invite", self._invite)]  # type: ignore[list-item]

    def _report(self) -> Answer:
        last = f"sessions/{self.acknowledged[-1]}/" if self.acknowledged else ""
        return self.visitor.get(f"/a/{self.slug}/{last}")

    def _invite(self) -> Answer:
        """On a connection of its own: what changes something is not to be sent twice."""
        self.visitor.connection.close()
        email = f"traffic{time.time_ns()}@example.net"
        form = {"test": self.test, "name": "Traffic", "email": email}
        answer = self.visitor.post(f"/a/{self.slug}/invite/", **form)
        if made := re.search(r"made=(\w+)", answer.location):
            self.acknowledged.append(made[1])
            return answer
        return Answer(answer.status, answer.text, "not made")

    def _request(self, page: str, ask: Callable[[], Answer]) -> Request:
        began, again = time.monotonic(), False
        try:
            try:
                answer = ask()
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                if page == "invite":
                    raise
                again, answer = True, ask()
            status, problem = answer.status, _problem(page, answer)
        except (OSError, http.client.HTTPException) as error:
            status, problem = 0, repr(error)
        seconds = time.monotonic() - began
        return Request(time.time() - seconds, seconds, self.slug, page, status, problem, again)

    def _is_there(self, code: str) -> bool:
        path = f"/a/{self.slug}/sessions/{code}/"
        return any(self.visitor.get(path).status == 200 for _ in range(LOOKS))


def _problem(page: str, answer: Answer) -> str:
    if page == "invite":
        made = answer.status == 302 and answer.location != "not made"
        return "" if made else f"{answer.status}: {_words(answer.text)}"
    return "" if answer.status == 200 else f"{answer.status} {answer.location}{_words(answer.text)}"


def _words(html: str) -> str:
    """The beginning of what a page says."""
    body = re.sub(r"(?s)<head>.*?</head>", " ", html)
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())[:200]


class Traffic:
    """A client for each account of the demo login. Raises AssertionError if there is none."""

    def __init__(self, cluster: Cluster, rate: float = RATE) -> None:
        with tempfile.NamedTemporaryFile("w", suffix=".crt") as file:
            file.write(cluster.authority.bundle)
            file.flush()
            self._make_clients(cluster, Path(file.name), rate)

    def _make_clients(self, cluster: Cluster, authority: Path, rate: float) -> None:
        first = Visitor(cluster.url, authority)
        first.log_in(DEMO_EMAIL, cluster.credentials.demo_password)
        slugs = sorted(set(re.findall(r'href="/a/([\w-]+)/"', first.page("/"))))
        slugs = [slug for slug in slugs if first.get(f"/a/{slug}/invite/").status == 200]
        assert slugs, "the demo login has no account where it may invite"
        self.clients = [Client(first, slug, authority, len(slugs) / rate) for slug in slugs]

    @property
    def requests(self) -> list[Request]:
        """All so far, by when they began."""
        done = [request for client in self.clients for request in list(client.done)]
        return sorted(done, key=lambda request: request.began)

    @property
    def count(self) -> int:
        return sum(len(client.done) for client in self.clients)

    def lost(self) -> list[str]:
        """Invitations that were acknowledged and are not there, of all accounts."""
        with ThreadPoolExecutor(len(self.clients)) as pool:
            return [code for lost in pool.map(Client.lost, self.clients) for code in lost]

    @contextmanager
    def running(self) -> Iterator[None]:
        for client in self.clients:
            client.start()
        try:
            yield
        finally:
            for client in self.clients:
                client.stop()
            for client in self.clients:
                client.join()


@dataclass(frozen=True)
class Outcome:
    """What came of a command under traffic; times are in seconds."""

    status: int
    seconds: float
    quiet: list[Request]
    during: list[Request]
    acknowledged: int
    lost: list[str]

    @property
    def failed(self) -> list[Request]:
        return [request for request in self.during if request.problem]


def under_traffic(
    traffic: Traffic,
    command: Callable[[], int],
    requests: int = REQUESTS,
    quiet: int = QUIET_REQUESTS,
) -> Outcome:
    """Run `command`, which returns its exit status, under `traffic`."""
    with traffic.running():
        deadline = time.monotonic() + MOST_SECONDS
        _wait(lambda: traffic.count >= quiet, deadline)
        before, began = time.time(), time.monotonic()
        status = command()
        seconds = time.monotonic() - began
        _wait(lambda: traffic.count >= quiet + requests, deadline)
    made = traffic.requests
    return Outcome(
        status,
        seconds,
        [request for request in made if request.began < before],
        [request for request in made if request.began >= before],
        sum(len(client.acknowledged) for client in traffic.clients),
        traffic.lost(),
    )


def _wait(happened: Callable[[], bool], deadline: float) -> None:
    while not happened() and time.monotonic() < deadline:
        time.sleep(0.2)


def report(outcome: Outcome) -> Table:
    """One line of figures for the quiet traffic and one for that beside the command."""
    table = Table(title=f"command: status {outcome.status}, {outcome.seconds:.0f} s")
    for name in ("", "requests", "failed", "sent again", "p50 ms", "p99 ms", "slowest ms"):
        table.add_column(name, justify="right")
    for name, requests in (("quiet", outcome.quiet), ("during", outcome.during)):
        times = sorted(request.seconds * 1000 for request in requests) or [0.0]
        spread = [times[len(times) // 2], times[int(len(times) * 0.99)], times[-1]]
        failed = sum(bool(request.problem) for request in requests)
        again = sum(request.again for request in requests)
        figures = [len(requests), failed, again, *(round(value) for value in spread)]
        table.add_row(name, *(f"{figure:,}" for figure in figures))
    table.caption = f"{outcome.acknowledged:,} writes acknowledged, {len(outcome.lost)} lost"
    return table


def failures(requests: Iterable[Request]) -> list[str]:
    """A line for each failed request, the first twenty."""
    wrong = [request for request in requests if request.problem]
    return [
        f"{time.strftime('%H:%M:%S', time.gmtime(request.began))} {request.account} "
        f"{request.page} after {request.seconds:.1f} s: {request.problem}"
        for request in wrong[:20]
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.lab.traffic", description=__doc__)
    parser.add_argument("--inventory", type=Path, default=INVENTORY)
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--rate", type=float, default=RATE, help="requests a second, of all")
    parser.add_argument("--record", type=Path, help="a file for every request, a line of JSON each")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    traffic = Traffic(Cluster(options.inventory), options.rate)
    outcome = under_traffic(
        traffic, lambda: subprocess.run(options.command, check=False).returncode, options.requests
    )
    console = Console()
    console.print(report(outcome), *failures(outcome.during), sep="\n")
    if options.record:
        lines = (json.dumps(asdict(r)) for r in [*outcome.quiet, *outcome.during])
        options.record.write_text("".join(f"{line}\n" for line in lines))
    sys.exit(1 if outcome.status or outcome.failed or outcome.lost else 0)


if __name__ == "__main__":
    main()

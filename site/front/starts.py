"""That a test session has just started, told to all processes: when, and in which country.

No more than that is told, so nobody can be known by it: no account, no shard, no session; the
country is what the candidate gave. Without Redis, or while it is away, each process knows its own.
"""

import time
from collections import deque
from dataclasses import dataclass
from typing import Any

from assessments.models import TestSession
from assessments.signals import session_started
from prepared.server import Away, ask

__all__ = ["Start", "connect", "newest", "publish", "published"]

STREAM, COUNT = "front:starts", "front:starts:count"
KEPT = 12


@dataclass(frozen=True)
class Start:
    """`key`: in their order. `at`: Unix seconds. `country`: its code, "" where none was given."""

    key: str
    at: int
    country: str


class _Here:
    """What this process has published itself, for the time without Redis."""

    starts: deque[Start] = deque(maxlen=KEPT)
    count = 0


def connect() -> None:
    """Called once, when the site starts."""
    session_started.connect(_tell, dispatch_uid="front.starts")


def publish(country: str) -> None:
    """Tell everybody. Takes half a second at most, whatever Redis does."""
    at = int(time.time())

    def add(client: Any) -> None:
        with client.pipeline(transaction=False) as pipe:
            pipe.xadd(STREAM, {"at": at, "country": country}, maxlen=KEPT, approximate=False)
            pipe.incr(COUNT)
            pipe.execute()

    try:
        ask(add)
    except Away:
        _Here.count += 1
        _Here.starts.appendleft(Start(f"{time.time_ns()}-here", at, country))


def newest() -> tuple[list[Start], int]:
    """The last ones, newest first; and how many there have been, as `published`."""

    def read(client: Any) -> Any:
        with client.pipeline(transaction=False) as pipe:
            pipe.xrevrange(STREAM, count=KEPT)
            pipe.get(COUNT)
            return pipe.execute()

    try:
        entries, count = ask(read)
    except Away:
        return list(_Here.starts), _Here.count
    return [_start(key, fields) for key, fields in entries], int(count or 0)


def published() -> int:
    """How many starts have been told, since Redis began to count."""
    try:
        return int(ask(lambda client: client.get(COUNT)) or 0)
    except Away:
        return _Here.count


def _start(key: bytes, fields: dict[bytes, bytes]) -> Start:
    return Start(key.decode(), int(fields[b"at"]), fields[b"country"].decode())


def _tell(sender: Any, session: TestSession, **kwargs: object) -> None:
    publish(session.country_id or "")

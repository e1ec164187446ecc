"""What the map shows, as JSON: made a few times a second by each process, however many ask."""

import hashlib
import json
import threading
import time
from dataclasses import dataclass
from typing import Any

from front.counter import to_date
from front.places import place_of
from front.starts import Start, newest

__all__ = ["Feed", "feed"]

FRESH_SECONDS = 0.2


@dataclass(frozen=True)
class Feed:
    """`shown` as JSON in `body`, and what tells it from any other in `etag`."""

    shown: dict[str, Any]
    body: bytes
    etag: str
    until: float = 0.0  # time.monotonic()


class _Newest:
    """The process's own. One thread makes the next while others get the former."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._feed: Feed | None = None

    def get(self) -> Feed:
        found = self._feed
        if found is not None and found.until > time.monotonic():
            return found
        if not self._lock.acquire(blocking=found is None):
            return found  # type: ignore[return-value] # not None: else it would have waited
        try:
            if self._feed is found:  # else another has made it while this one waited
                self._feed = _made()
            return self._feed  # type: ignore[return-value]
        finally:
            self._lock.release()

    def forget(self) -> None:
        self._feed = None


newest_feed = _Newest()
feed = newest_feed.get


def _made() -> Feed:
    starts, count = newest()
    total, missing = to_date(count)
    shown = {"total": total, "missing": missing, "starts": [_entry(start) for start in starts]}
    body = json.dumps(shown, separators=(",", ":")).encode()
    etag = f'"{hashlib.sha256(body).hexdigest()[:20]}"'
    return Feed(shown, body, etag, time.monotonic() + FRESH_SECONDS)


def _entry(start: Start) -> dict[str, Any]:
    place = place_of(start.country)
    known = {"name": place.name, "x": place.x, "y": place.y} if place else {"name": "somewhere"}
    return {"key": start.key, "at": start.at, **known}

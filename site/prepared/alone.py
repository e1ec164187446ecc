"""Answers of one process, for as long as there is no Redis: one is made at a time."""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from prepared.shared import Kept

__all__ = ["Alone"]

REST_SECONDS = 5.0
ENTRIES = 100

logger = logging.getLogger(__name__)
_at_work = threading.Lock()  # of the whole process: a thread a shard away cannot take the others


class Alone:
    """The last answers that this process has seen or made, by key."""

    def __init__(self, make: Callable[[str], Any], fresh_seconds: float) -> None:
        self._make, self._fresh_seconds = make, fresh_seconds
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self._rests: dict[str, float] = {}  # key → not before this time.monotonic()

    def last(self, key: str) -> Kept | None:
        """The last one, however old."""
        return self._kept.get(key)

    def remember(self, key: str, kept: Kept) -> None:
        """For the time when Redis is away."""
        self._kept[key] = kept
        while len(self._kept) > ENTRIES:
            self._kept.popitem(last=False)

    def get(self, key: str) -> tuple[Kept | None, bool]:
        """The answer, made here if it is old; and whether another thread is at work on one."""
        if self._must_be_made(key):
            if not _at_work.acquire(blocking=False):
                return self.last(key), True
            try:
                if self._must_be_made(key):  # nobody has made it between our look and our lock
                    self._make_now(key)
            finally:
                _at_work.release()
        return self.last(key), False

    def _must_be_made(self, key: str) -> bool:
        kept = self.last(key)
        if kept and kept.is_younger(self._fresh_seconds):
            return False
        return self._rests.get(key, 0.0) <= time.monotonic()

    def _make_now(self, key: str) -> None:
        try:
            self.remember(key, Kept.now(self._make(key)))
        except Exception:
            logger.exception("%s cannot be made here.", key)
            self._rests[key] = time.monotonic() + REST_SECONDS

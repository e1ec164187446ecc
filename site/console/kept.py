"""What is dear to find out and may be some seconds old: found out once, for everybody who asks."""

import time
from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

from django.core.cache import cache

__all__ = ["Kept"]

T = TypeVar("T")
GRACE = 4  # so many times its age a value is shown while another thread makes the next


class Kept(Generic[T]):
    """A value of `make`, `seconds` old at most; made by one thread while others see the former.

    All processes share it through Django's cache; without that each process has its own. `make`
    gives plain values, and never None.
    """

    def __init__(self, name: str, seconds: float, make: Callable[[], T]) -> None:
        self._key, self._seconds, self._make = f"console:{name}", seconds, make
        self._lock = Lock()
        self._held: tuple[float, T] | None = None  # made at, value

    def get(self) -> T:
        held = self._held
        if held is not None and self._age(held) < self._seconds:
            return held[1]
        showable = held is not None and self._age(held) < GRACE * self._seconds
        if not self._lock.acquire(blocking=not showable):
            assert held is not None  # noqa: S101 - showable
            return held[1]
        try:
            return self._newest()
        finally:
            self._lock.release()

    def forget(self) -> None:
        """Find it out anew at the next `get`."""
        self._held = None
        cache.delete(self._key)

    def _newest(self) -> T:
        for found in (self._held, cache.get(self._key)):
            if found is not None and self._age(found) < self._seconds:
                self._held = found
                return found[1]
        value = self._make()
        self._held = (time.time(), value)
        cache.set(self._key, self._held, max(int(self._seconds), 1))
        return value

    @staticmethod
    def _age(held: tuple[float, T]) -> float:
        """Seconds. A clock that was set back makes a value old, not eternal."""
        age = time.time() - held[0]
        return age if age >= 0 else float("inf")

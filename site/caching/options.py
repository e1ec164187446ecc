"""`.cache()` and `.no_cache()`: how long a query's answer is kept, and what is done at a miss."""

from typing import Any

from caching.conf import settings
from caching.policy import COMPUTE, policy

__all__ = ["CacheOptions"]

NEVER = 0


class CacheOptions:
    """Before a queryset of Django's among the bases, whose `_clone` it goes on to."""

    model: Any
    _seconds: int | None = None  # None: the model's or the project's; NEVER: not cached
    _policy = COMPUTE

    def cache(
        self,
        timeout: int | None = None,
        *,
        on_miss: str = "compute",
        wait: float | None = None,
        stale: float = 0,
    ) -> Any:
        """The same query, its answers kept for `timeout` seconds (None: as long as usual).

        The rest is about who asks the same at the same time: see `caching.policy.policy`.
        """
        clone = self._clone()
        clone._seconds, clone._policy = timeout, policy(on_miss, wait, stale)
        return clone

    def no_cache(self) -> Any:
        """The same query, asked of the database."""
        clone = self._clone()
        clone._seconds = NEVER
        return clone

    @property
    def _is_uncached(self) -> bool:
        return self._seconds == NEVER or not settings().enabled

    def _life(self) -> int:
        """Seconds that an answer is kept."""
        return self._seconds or getattr(self.model, "cache_seconds", None) or settings().seconds

    def _clone(self) -> Any:
        clone = super()._clone()  # type: ignore[misc]
        clone._seconds, clone._policy = self._seconds, self._policy
        return clone

"""The same work on several servers at once."""

__all__ = ["together"]

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

from infra.errors import ClusterError


def together(work: Callable[[Any], None], items: Sequence[Any]) -> None:
    """Do `work` for all items at once; raise what went wrong, for each that did."""
    pool = ThreadPoolExecutor(max_workers=8)
    try:
        futures = [pool.submit(work, item) for item in items]
        wait(futures)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # Ctrl-C does not wait for a deadline
    errors = [error for future in futures if (error := future.exception())]
    for error in errors:
        if not isinstance(error, ClusterError):
            raise error
    if errors:
        raise ClusterError("\n".join(map(str, errors)))

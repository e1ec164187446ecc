"""Whether what is about to be kept may have been read before its token was.

A fragment is made of rows that the view has read already, so a token that is read where the
fragment stands is too late: a commit between the two would be missed for good. But a token is
random and never comes back, so when this process has seen the same one before the work under way
began, nothing has been committed since, and whatever this work has read is right under it.

The work under way begins with a request, or with `reading()`. Outside of both nobody knows. Work
that has seen what is not committed, or not new, is spoilt: rows of a transaction that was rolled
back, of a replica, of an answer that may be stale. They may be in the view's memory still, so
nothing is kept any more until the next work begins. What a process remembers of earlier work must
not be shown in a fragment.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from caching.clock import now

__all__ = ["begin", "known_before_reading", "reading", "spoil", "spoilt"]

MOST_KNOWN = 10_000


class _Work:
    """Shared by the threads and tasks that it starts. `began`: by the clock; None: nobody knows."""

    def __init__(self, began: float | None) -> None:
        self.began, self.spoilt = began, 0


_work: ContextVar[_Work | None] = ContextVar("caching_work", default=None)

# (slot, names of the tokens) → identity of the database, tokens, since when they are known.
_known: dict[tuple[str, tuple[str, ...]], tuple[str, bytes, float]] = {}


def begin(**kwargs: object) -> None:
    """Django's `request_started`."""
    _work.set(_Work(now()))


@contextmanager
def reading() -> Iterator[None]:
    """For work that is no request: nothing that is shown in this block was read before it."""
    token = _work.set(_Work(now()))
    try:
        yield
    finally:
        _work.reset(token)


def spoil() -> None:
    """This work has seen what is not committed, or not new: nothing made of it may be kept."""
    work = _work.get()
    if work is None:
        _work.set(work := _Work(None))
    work.spoilt += 1


def spoilt() -> int:
    """How often `spoil` was called in this work."""
    work = _work.get()
    return 0 if work is None else work.spoilt


def known_before_reading(
    slot: str, names: tuple[str, ...], identity: str, stamp: bytes | None
) -> bool:
    """Whether these tokens, which Redis has just told, were the same when this work began.

    `stamp`: usable ones; None for any other.
    """
    if not stamp:
        return False
    found = _known.get((slot, names))
    if found is None or found[:2] != (identity, stamp):
        if len(_known) >= MOST_KNOWN:
            _known.clear()
        found = _known[slot, names] = identity, stamp, now()
    work = _work.get()
    if work is None or work.began is None or work.spoilt:
        return False
    return found[2] <= work.began

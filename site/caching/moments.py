"""Whether what is about to be kept may have been read before its token was.

A fragment is made of rows that the view has read already, so a token that is read where the
fragment stands is too late: a commit between the two would be missed for good. But a token is
random and never comes back, so when this process has seen the same one before the work under way
began, nothing has been committed since, and whatever this work has read is right under it.

The work under way begins with a request, or with `reading()`. Outside of both nobody knows, and
after `spoil()`. What a process remembers of earlier work must not be shown in a fragment.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from django.core.signals import request_started

from caching.clock import now

__all__ = ["known_before_reading", "reading", "spoil"]

MOST_KNOWN = 10_000

_began: ContextVar[float | None] = ContextVar("caching_began", default=None)

# (slot, names of the tokens) → identity of the database, tokens, since when they are known.
_known: dict[tuple[str, tuple[str, ...]], tuple[str, bytes, float]] = {}


@contextmanager
def reading() -> Iterator[None]:
    """For work that is no request: nothing that is shown in this block was read before it."""
    token = _began.set(now())
    try:
        yield
    finally:
        _began.reset(token)


def spoil() -> None:
    """This work has seen what is not committed, or not new: nothing made of it may be kept."""
    _began.set(None)


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
    began = _began.get()
    return began is not None and found[2] <= began


def _begin(**kwargs: object) -> None:
    _began.set(now())


request_started.connect(_begin, dispatch_uid="caching.moments")

"""Whether a piece of work that was refused has left anything behind, so that it may be run again.

It has not if each of its writes, on whatever database, was made in the one transaction that was
refused, for that is rolled back whole. Only statements that write are looked at (not a function
that writes within a SELECT), and Celery's messages: what else the work does (mail, another service)
it says by `mark_done()`, or does after the commit.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

__all__ = ["Attempt", "attempting", "current_attempt", "mark_done"]

OUTSIDE = object()  # any transaction


class Attempt:
    """One run of a request or a task."""

    def __init__(self) -> None:
        self._wrote_in: Any = None  # the outermost atomic block, OUTSIDE, or nothing yet
        self._left_something = False
        self._refused_in: Any = None

    def writes(self, connection: Any) -> None:
        """A statement that may write begins there."""
        block = _block(connection)
        if self._wrote_in is None:
            self._wrote_in = block
        elif block is not self._wrote_in or block is OUTSIDE:
            self._left_something = True

    def refused(self, connection: Any, *, wrote: bool) -> None:
        """The statement that began last there was refused; it was to write, or to read."""
        self._refused_in = _block(connection)
        if not wrote and self._wrote_in is OUTSIDE:
            self._left_something = True

    def did(self) -> None:
        """It has done what cannot be undone."""
        self._left_something = True

    @property
    def left_nothing(self) -> bool:
        """Whether all of it was refused."""
        if self._left_something:
            return False
        return self._wrote_in is None or self._wrote_in is self._refused_in


def _block(connection: Any) -> Any:
    """The outermost block of the application's own; a test's around it does not count."""
    blocks = [block for block in connection.atomic_blocks if not block._from_testcase]
    if blocks:
        return blocks[0]
    return OUTSIDE


_attempt: ContextVar[Attempt | None] = ContextVar("routers_attempt", default=None)

current_attempt = _attempt.get
"""The attempt that is under way, if any."""


@contextmanager
def attempting() -> Iterator[Attempt]:
    """Note what the block writes. Of one inside another, the outer one knows that it wrote."""
    attempt = Attempt()
    outer = _attempt.get()
    token = _attempt.set(attempt)
    try:
        yield attempt
    finally:
        _attempt.reset(token)
        if outer is not None and not attempt.left_nothing:
            outer.did()


def mark_done() -> None:
    """Say that this request or task has done something that must not be done twice."""
    if (attempt := _attempt.get()) is not None:
        attempt.did()

"""Threads that keep the account.

The primitive is `Thread(target=carry(work))`. A pool that does it for every task, and leaves no
database connection behind, is `AccountThreadPool`.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import wraps
from typing import ParamSpec, TypeVar

from django.db import connections

from routers.carrying import carry

__all__ = ["AccountThreadPool"]

P = ParamSpec("P")
R = TypeVar("R")


class AccountThreadPool(ThreadPoolExecutor):
    """A ThreadPoolExecutor whose tasks run for the account in force at `submit` or `map`.

    A task's database connections are closed when it is done: nothing else would close those of a
    worker thread, and each holds a place in the pooler.
    """

    def submit(
        self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[R]:  # also what `map` calls
        return super().submit(carry(_closing(fn)), *args, **kwargs)


def _closing(work: Callable[P, R]) -> Callable[P, R]:
    @wraps(work)
    def inside(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return work(*args, **kwargs)
        finally:
            connections.close_all()

    return inside

"""A question that another thread asks meanwhile, and that is given up where it takes too long."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

__all__ = ["Aside"]

T = TypeVar("T")


class Aside(Generic[T]):
    """Asks at once. `question` ends by itself some time, and uses none of Django's connections."""

    def __init__(self, question: Callable[[], T]) -> None:
        pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="console")
        self._asked = pool.submit(question)
        pool.shutdown(wait=False)

    def answer(self, seconds: float) -> T | None:
        """The answer; None where it is not there in `seconds` from now."""
        try:
            return self._asked.result(seconds)
        except TimeoutError:
            return None

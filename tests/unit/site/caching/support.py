"""What the tests of the cache have in common."""

from collections.abc import Callable
from threading import Thread
from typing import Any

from django.db import connections

from caching import counts
from routers.carrying import carry
from tests.unit.site.caching.shelf.models import Book

__all__ = [
    "ELSEWHERE",
    "ONE",
    "TWO",
    "asked",
    "delete_everything",
    "elsewhere",
    "rename",
    "title",
    "turn_on",
]

# With an even map over two shards: accounts ONE and TWO on shard02, ELSEWHERE on shard01.
ONE, TWO, ELSEWHERE = 90_001, 90_003, 90_002


def delete_everything() -> None:
    """Rows of all tests, past the cache, and this thread's connections."""
    for alias in ("shard01", "shard02"):
        with connections[alias].cursor() as cursor:
            for table in ("tagging", "cover", "book", "tag", "author", "language"):
                if table != "language":
                    cursor.cursor.execute(f"DELETE FROM shelf_{table}")
    with connections["default"].cursor() as cursor:
        for table in ("reading", "publisher", "language"):
            cursor.cursor.execute(f"DELETE FROM shelf_{table}")
    connections.close_all()


def turn_on() -> None:
    """The caches of all databases are in service, whatever the test before did."""
    for alias in ("default", "shard01", "shard02"):
        with connections[alias].cursor() as cursor:
            cursor.cursor.execute("UPDATE caching_service SET is_off = false, epoch = epoch + 1")


def elsewhere(work: Callable[[], Any]) -> Any:
    """What `work` returns in a thread with connections of its own: another process, nearly."""
    answer: list[Any] = []

    def run() -> None:
        try:
            answer.append(work())
        finally:
            connections.close_all()

    thread = Thread(target=carry(run))
    thread.start()
    thread.join(30)
    assert answer, "the other thread has failed"
    return answer[0]


def asked(label: str = "shelf.Book") -> dict[str, int]:
    """Outcome → how often, of one model."""
    return {outcome: n for (name, outcome), n in counts.outcomes.items() if name == label}


def title(book: Book) -> str:
    """As a page would read it: from the cache where it is there."""
    return Book.objects.get(pk=book.pk).title


def rename(book: Book, name: str = "new") -> None:
    """By the ORM, which tells the cache."""
    Book.objects.filter(pk=book.pk).update(title=name)

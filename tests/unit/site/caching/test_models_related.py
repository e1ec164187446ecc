"""Related objects: what comes from the cache, in how many round trips, and that it is right."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connections
from django.db.models import Prefetch
from django.test.utils import CaptureQueriesContext

from routers import CrossAccount, account_atomic, account_context, shard_of
from tests.unit.site.caching.redis_server import RedisServer
from tests.unit.site.caching.shelf.models import Author, Book, Cover, Language, Tag
from tests.unit.site.caching.support import ONE, TWO, asked, elsewhere
from tests.unit.site.caching.test_round_trips import commands


@pytest.fixture
def shelf(cached: RedisServer) -> Iterator[RedisServer]:
    Language.objects.create(code="en", name="English")
    with account_context(ONE):
        author = Author.objects.create(name="A")
        tags = [Tag.objects.create(name=name) for name in ("new", "old")]
        for number in range(3):
            book = Book.objects.create(title=str(number), author=author)
            book.tags.add(*tags)
            Cover.objects.create(book=book, colour="red")
        yield cached


def book() -> Book:
    return Book.objects.get(title="1")


# What is asked → MGETs of a hit: one for each query that Django makes.
HITS: dict[str, tuple[int, Callable[[], Any]]] = {
    "a foreign key": (2, lambda: book().author.name),
    "one-to-one": (2, lambda: Cover.objects.get(book__title="1").book.title),
    "one-to-one, backwards": (2, lambda: book().cover.colour),
    "the many behind a foreign key": (2, lambda: [*Author.objects.get().books.order_by("pk")]),
    "some of the many": (2, lambda: [*Author.objects.get().books.filter(title="1")]),
    "their number": (2, lambda: Author.objects.get().books.count()),
    "many-to-many": (2, lambda: sorted(one.name for one in book().tags.all())),
    "many-to-many, backwards": (2, lambda: len(Tag.objects.get(name="new").book_set.all())),
    "select_related": (1, lambda: Book.objects.select_related("author").get(title="1").author.name),
    "prefetch of a foreign key": (
        2,
        lambda: [one.author.name for one in Book.objects.prefetch_related("author")],
    ),
    "prefetch of the many": (
        2,
        lambda: [len(one.books.all()) for one in Author.objects.prefetch_related("books")],
    ),
    "prefetch of many-to-many": (
        2,
        lambda: [len(one.tags.all()) for one in Book.objects.prefetch_related("tags")],
    ),
    "prefetch of one-to-one": (
        2,
        lambda: [one.cover.colour for one in Book.objects.prefetch_related("cover")],
    ),
    "prefetch of two steps": (
        3,
        lambda: [
            len(b.tags.all())
            for a in Author.objects.prefetch_related("books__tags")
            for b in a.books.all()
        ],
    ),
    "prefetch of some": (
        2,
        lambda: [
            len(one.first)  # type: ignore[attr-defined]
            for one in Author.objects.prefetch_related(
                Prefetch("books", Book.objects.filter(title="0"), to_attr="first")
            )
        ],
    ),
}


@pytest.mark.parametrize("name", HITS)
def test_a_hit_asks_no_database(shelf: RedisServer, name: str) -> None:
    times, ask = HITS[name]
    found = ask()
    with CaptureQueriesContext(connections[shard_of(ONE)]) as queries:
        sent = commands(shelf, lambda: again.append(ask()))
        assert again == [found]
    assert sent == ["MGET"] * times
    assert not len(queries)


again: list[Any] = []


@pytest.fixture(autouse=True)
def nothing_yet() -> None:
    again.clear()


def test_a_reference_row_is_read_in_the_catalog(shelf: RedisServer) -> None:
    def language() -> str:
        one = book()
        one.language_id = "en"  # the shards of these tests have no copy of it
        assert one.language is not None
        return one.language.name

    assert language() == language() == "English"
    assert asked("shelf.Language") == {"miss": 1, "hit": 1}
    Language.objects.update(name="British")
    assert language() == elsewhere(language) == "British"


@pytest.mark.parametrize("name", HITS)
def test_after_a_write_it_is_the_new_one(shelf: RedisServer, name: str) -> None:
    """Of all that is in it: rows are deleted, and the rest is renamed."""
    _, ask = HITS[name]
    ask()
    Author.objects.update(name="B")
    Cover.objects.update(colour="blue")
    Book.objects.get(title="2").delete()
    Tag.objects.get(name="old").delete()
    found = ask()
    assert found == elsewhere(ask)
    with account_atomic():
        Author.objects.update(name="B")  # so its reads bypass the cache
        assert found == ask()


def test_rows_in_a_transaction_that_has_written(shelf: RedisServer) -> None:
    assert book().author.name == "A"  # type: ignore[union-attr]
    with account_atomic():
        Author.objects.update(name="B")
        assert book().author.name == "B"  # type: ignore[union-attr]
        assert elsewhere(lambda: book().author.name) == "A"  # type: ignore[union-attr]


def test_refresh_from_db_asks_the_database(shelf: RedisServer) -> None:
    one = book()
    for _ in range(2):
        with CaptureQueriesContext(connections[shard_of(ONE)]) as queries:
            one.refresh_from_db()
            one.refresh_from_db(fields=["title"])
        assert len(queries) == 2
    deferred = Book.objects.only("title").get(title="1")
    with CaptureQueriesContext(connections[shard_of(ONE)]) as queries:
        assert deferred.copies == 0
    assert len(queries) == 1


def test_a_row_of_another_account_is_refused(shelf: RedisServer) -> None:
    one = book()
    assert one.author
    one = book()
    with account_context(TWO), pytest.raises(CrossAccount):
        assert one.author


def test_what_is_no_more_is_not_there(shelf: RedisServer) -> None:
    one = book()
    Cover.objects.all().delete()
    for _ in range(2):
        with pytest.raises(Cover.DoesNotExist):
            assert Book.objects.get(pk=one.pk).cover

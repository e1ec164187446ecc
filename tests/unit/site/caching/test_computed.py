"""Values of one's own in the cache."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.utils.safestring import mark_safe

from caching import cached
from caching.codec import NotPlain
from caching.plainness import pack_value, unpack_value
from routers import AccountNotSet, account_atomic, account_context
from routers.exceptions import RoutingError
from tests.unit.site.caching.redis_server import RedisServer
from tests.unit.site.caching.shelf.models import Book, Language, Publisher
from tests.unit.site.caching.support import ONE, TWO, asked, elsewhere


class Sum:
    """Of the copies of all books; it knows how often it was computed."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> int:
        self.times += 1
        return sum(Book.objects.no_cache().values_list("copies", flat=True))


@pytest.fixture
def books(cached: RedisServer) -> Iterator[Sum]:
    with account_context(ONE):
        Book.objects.create(title="first", copies=3)
        yield Sum()


def test_it_is_computed_once_until_the_account_is_written(books: Sum) -> None:
    assert [cached(("sum",), books) for _ in range(3)] == [3, 3, 3]
    assert elsewhere(lambda: cached(("sum",), books)) == 3
    assert books.times == 1
    Book.objects.create(title="second", copies=4)
    assert [cached(("sum",), books) for _ in range(2)] == [7, 7]
    assert books.times == 2
    assert asked("sum") == {"miss": 2, "hit": 4}


def test_the_key_is_all_that_it_depends_on(books: Sum) -> None:
    for _ in range(2):
        assert cached(("twice", 2), lambda: 2 * books()) == 6
        assert cached(("twice", 3), lambda: 3 * books()) == 9
        assert cached(("twice", "2"), lambda: 0 * books()) == 0
    assert books.times == 3
    with account_context(TWO):
        assert cached(("twice", 2), books) == 0


def test_what_cannot_be_a_key(books: Sum) -> None:
    with pytest.raises(TypeError, match="has no name"):
        cached((1, 2), books)
    with pytest.raises(TypeError, match="type Sum"):
        cached(("sum", books), books)


def test_a_transaction_that_has_written_computes_for_itself(books: Sum) -> None:
    assert cached(("sum",), books) == 3
    with account_atomic():
        assert cached(("sum",), books) == 3
        assert books.times == 1
        Book.objects.update(copies=10)
        assert cached(("sum",), books) == 10
        assert elsewhere(lambda: cached(("sum",), books)) == 3
    assert cached(("sum",), books) == 10


def names() -> list[str]:
    return [one.name for one in Publisher.objects.no_cache().order_by("name")]


def test_one_for_everybody(books: Sum) -> None:
    Publisher.objects.create(name="A")
    for account in (ONE, TWO):
        with account_context(account):
            assert cached(("names",), names, shared=True, tables=[Publisher]) == ["A"]
    assert asked("names") == {"miss": 1, "hit": 1}
    Publisher.objects.update(name="B")
    assert cached(("names",), names, shared=True, tables=["shelf_publisher"]) == ["B"]


def test_what_is_for_everybody_cannot_read_an_accounts_rows(books: Sum) -> None:
    with pytest.raises(AccountNotSet):
        cached(("sum",), books, shared=True, tables=[Publisher])
    assert cached(("sum",), books) == 3, "the account is in force again"


def test_it_must_be_told_of_writes(books: Sum) -> None:
    with pytest.raises(RoutingError, match="writes to shelf_book"):
        cached(("sum",), books, tables=[Book])
    with pytest.raises(RoutingError, match="Name them"):
        cached(("sum",), books, shared=True)


def test_an_account_and_tables(books: Sum) -> None:
    publisher = Publisher.objects.create(name="A")

    def both() -> str:
        return f"{books()} {names()}"

    def ask() -> Any:
        return cached(("both",), both, tables=[Publisher, Language])

    assert ask() == ask() == "3 ['A']"
    assert books.times == 1
    publisher.name = "B"
    publisher.save()
    assert ask() == ask() == "3 ['B']"
    Language.objects.create(code="en")
    Book.objects.update(copies=5)
    assert ask() == elsewhere(ask) == "5 ['B']"
    assert books.times == 3


VALUES = [
    None,
    [1, 2.5, "é", b"b", True, None],
    (1, (2, [3])),
    {"a": {1: [date(2026, 1, 2)]}, None: ("t", 1)},
    [datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC), time(1, 2), timedelta(1, 2, 3)],
    {"price": Decimal("1.50"), "id": UUID(int=7)},
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values_come_back_as_they_were(value: Any) -> None:
    found = unpack_value(pack_value(value))
    assert found == value
    assert repr(found) == repr(value)


@pytest.mark.parametrize("value", [object(), {1, 2}, [Book()], {("a", 1): 2}])
def test_values_that_cannot_be_kept(value: Any) -> None:
    with pytest.raises(NotPlain):
        pack_value(value)


def test_safe_text_comes_back_as_text() -> None:
    assert type(unpack_value(pack_value(mark_safe("<b>")))) is str


def test_what_cannot_be_kept_is_returned(books: Sum) -> None:
    values: list[Callable[[], Any]] = [lambda: {1, 2}] * 2
    assert [cached(("set",), value) for value in values] == [{1, 2}] * 2
    assert asked("set") == {"not plain": 2}


def test_none_is_an_answer(books: Sum) -> None:
    for _ in range(2):
        assert cached(("none",), lambda: None) is None
    assert asked("none") == {"miss": 1, "hit": 1}

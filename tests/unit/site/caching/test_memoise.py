"""Methods and properties that are computed once."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import models
from django.test.utils import isolate_apps

from caching.memoise import Memoises, cached_method, memoised_property
from caching.mixins import CachingMixin
from routers import AccountNotSet, CrossAccount, account_context
from routers.models import GlobalModel, ShardedModel
from tests.unit.site.caching.redis_server import RedisServer
from tests.unit.site.caching.shelf.models import Author, Book, Publisher
from tests.unit.site.caching.support import ONE, TWO, asked, elsewhere

times: list[str] = []


@cached_method(seconds=60)
def shown(book: Book, *words: str, sign: str = "!") -> str:
    times.append("shown")
    name = book.author.name if book.author else "nobody"
    return f"{book.title} of {name} {' '.join(words)}{sign}"


@cached_method(tables=[Publisher])
def published(book: Book) -> str:
    times.append("published")
    return f"{book.title} {sorted(one.name for one in Publisher.objects.no_cache())}"


@cached_method()
def readers(publisher: Publisher) -> str:
    times.append("readers")
    return f"{publisher.name} of {Publisher.objects.no_cache().count()}"


@pytest.fixture(autouse=True)
def nothing_yet() -> None:
    times.clear()


@pytest.fixture
def book(cached: RedisServer) -> Iterator[Book]:
    with account_context(ONE):
        yield Book.objects.create(title="T", author=Author.objects.create(name="A"))


def again(book: Book) -> Book:
    found: Book = Book.objects.no_cache().get(pk=book.pk)
    return found


def test_it_is_computed_once_for_the_row_and_the_arguments(book: Book) -> None:
    for _ in range(2):
        assert shown(again(book)) == elsewhere(lambda: shown(again(book))) == "T of A !"
        assert shown(again(book), "x") == "T of A x!"
        assert shown(again(book), "x", sign="?") == "T of A x?"
    assert len(times) == 3
    assert asked("shelf.Book.shown") == {"miss": 3, "hit": 5}


def test_any_write_of_the_account_ends_it(book: Book) -> None:
    assert shown(again(book)) == "T of A !"
    Author.objects.update(name="B")
    assert shown(again(book)) == elsewhere(lambda: shown(again(book))) == "T of B !"
    assert len(times) == 2


def test_an_object_that_is_old_spoils_nothing(book: Book) -> None:
    """It was read, with its author, before the write; and is asked after it."""
    old = Book.objects.no_cache().select_related("author").get()
    Book.objects.update(title="U")
    Author.objects.update(name="B")
    assert shown(old) == "T of B !"
    assert shown(again(book)) == elsewhere(lambda: shown(again(book))) == "U of B !"


def test_a_changed_object_is_computed_as_it_is(book: Book) -> None:
    assert shown(book) == "T of A !"
    book.title = "changed"
    assert shown(book) == "changed of A !"
    assert shown(again(book)) == "T of A !"


def test_rows_that_are_not_stored_or_not_plain(book: Book) -> None:
    new = Book(title="new")
    odd = again(book)
    odd.copies = models.F("copies") + 1
    for _ in range(2):
        assert shown(new) == "new of nobody !"
        assert shown(odd) == "T of A !"
    assert len(times) == 4
    with pytest.raises(TypeError, match="type object"):
        shown(book, object())  # type: ignore[arg-type]


def test_rows_of_another_account(book: Book) -> None:
    assert shown(book) == "T of A !"
    with account_context(TWO), pytest.raises(CrossAccount):
        shown(book)


def test_without_an_account(book: Book, cached: RedisServer) -> None:
    from routers.context import SCOPE

    before = SCOPE.set(None)
    try:
        with pytest.raises(AccountNotSet):
            shown(book)
    finally:
        SCOPE.reset(before)


def test_tables_of_the_catalog(book: Book) -> None:
    assert published(book) == published(book) == "T []"
    Publisher.objects.create(name="P")
    assert published(book) == published(book) == "T ['P']"
    assert len(times) == 2


def test_a_global_models_method(cached: RedisServer) -> None:
    one = Publisher.objects.create(name="P")
    for account in (ONE, TWO):
        with account_context(account):
            assert readers(one) == "P of 1"
    assert readers(one) == "P of 1"
    Publisher.objects.create(name="Q")
    assert readers(one) == elsewhere(lambda: readers(one)) == "P of 2"
    assert len(times) == 2


class Priced(Memoises):
    """Enough of a model for its own methods."""

    def __init__(self, price: int) -> None:
        self.price, self.computed = price, 0

    @memoised_property
    def total(self) -> int:
        """Twice the price."""
        self.computed += 1
        return 2 * self.price

    @memoised_property
    def other(self) -> int:
        return self.price


def test_a_property_is_computed_once_until_it_is_forgotten() -> None:
    one = Priced(3)
    assert one.total == one.total == 6
    assert one.other == 3
    one.price = 4
    assert one.total == 6
    one.forget("total")
    assert (one.total, one.other, one.computed) == (8, 3, 2)
    one.price = 5
    one.forget()
    assert (one.total, one.other) == (10, 5)
    assert Priced.total.__doc__ == "Twice the price."
    with pytest.raises(AttributeError, match="memoises other, total, and not sum"):
        one.forget("sum")


@isolate_apps("tests.unit.site.caching.shelf")
def test_a_property_is_forgotten_when_the_row_is_saved_or_read_again(monkeypatch: Any) -> None:
    class Order(CachingMixin, GlobalModel):
        price = models.IntegerField()

        class Meta:
            app_label = "shelf"

        @memoised_property
        def total(self) -> int:
            return 2 * self.price

    for name in ("save", "refresh_from_db"):
        monkeypatch.setattr(models.Model, name, lambda self: None)
        order = Order(pk=1, price=3)
        assert order.total == 6
        order.price = 4
        assert order.total == 6
        getattr(order, name)()
        assert order.total == 8


def test_what_would_never_be_forgotten_is_refused() -> None:
    with pytest.raises((RuntimeError, TypeError)) as raised:  # Python 3.11 wraps it

        class Order:
            @memoised_property
            def total(self) -> int:
                return 1

    assert "Order.total would never" in str(raised.value.__cause__ or raised.value)


@isolate_apps("tests.unit.site.caching.shelf")
def test_a_base_that_comes_too_late_is_refused() -> None:
    with pytest.raises(TypeError, match="before its model bases"):

        class Order(ShardedModel, Memoises):
            class Meta(ShardedModel.Meta):
                app_label = "shelf"

"""The cached queryset answers as Django's does, and refuses what `routers` refuses."""

import pickle
from collections.abc import Callable, Iterator
from copy import deepcopy
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import FieldError
from django.db import models
from django.db.models import Count, F, Q

from routers import AccountNotSet, CrossAccount, account_context, all_accounts, shard_of
from routers.managers import AccountQuerySet
from tests.unit.site.caching.redis_server import RedisServer
from tests.unit.site.caching.shelf.models import Author, Book, Cover, Language, Publisher, Tag
from tests.unit.site.caching.support import ONE, TWO, asked


@pytest.fixture
def shelf(cached: RedisServer) -> Iterator[RedisServer]:
    with account_context(ONE):
        authors = [Author.objects.create(name=name) for name in "AB"]
        tag = Tag.objects.create(name="new")
        for number in range(6):
            one = Book.objects.create(
                title=f"book {number}",
                copies=number,
                author=authors[number % 2] if number else None,
                price=Decimal("9.50") if number % 2 else None,
                bought_at=datetime(2026, 1, 1 + number, 12, 30, 1, 5, tzinfo=UTC),
                facts={"pages": [number, None, True, "é"]},
            )
            if number % 2:
                one.tags.add(tag)
                Cover.objects.create(book=one, colour="red")
        yield cached


Ask = Callable[[Any], Any]
SAME: dict[str, Ask] = {
    "all": lambda books: books.order_by("title"),
    "filter": lambda books: books.filter(copies=3),
    "filter of two": lambda books: books.filter(copies__gt=1, title__startswith="book"),
    "filter by a list": lambda books: books.filter(copies__in=[1, 2, 5]).order_by("pk"),
    "filter by a relation": lambda books: books.filter(author__name="A").order_by("pk"),
    "exclude": lambda books: books.exclude(copies=3).order_by("pk"),
    "isnull": lambda books: books.filter(author__isnull=True),
    "none is a value": lambda books: books.filter(author=None),
    "chained": lambda books: (
        books.filter(copies__gte=1).exclude(title="book 2").order_by("-pk")[1:3]
    ),
    "sliced twice": lambda books: books.order_by("pk")[1:][:2],
    "reverse": lambda books: books.order_by("title").reverse(),
    "distinct": lambda books: books.filter(tags__name="new").distinct().order_by("pk"),
    "select_related": lambda books: books.select_related("author").order_by("pk"),
    "select_related of one-to-one": lambda books: books.select_related("cover").order_by("pk"),
    "only": lambda books: books.only("title").order_by("pk"),
    "defer": lambda books: books.defer("title").order_by("pk"),
    "Q": lambda books: books.filter(Q(copies=1) | Q(copies=4)).order_by("pk"),
    "F": lambda books: books.filter(copies__gte=F("copies")).order_by("pk"),
    "annotate": lambda books: books.annotate(n=Count("tags")).order_by("pk"),
    "values": lambda books: books.order_by("pk").values("title", "facts", "price"),
    "values_list": lambda books: books.order_by("pk").values_list("title", "bought_at"),
    "flat": lambda books: books.order_by("pk").values_list("facts", flat=True),
    "named": lambda books: books.order_by("pk").values_list("title", named=True),
    "nothing": lambda books: books.filter(title="none"),
    "none()": lambda books: books.none(),
    "dates": lambda books: books.dates("bought_at", "day"),
    "combined": lambda books: books.filter(copies=1) | books.filter(copies=2),
    "union": lambda books: books.filter(copies=1).union(books.filter(copies=2)).order_by("title"),
    "prefetch": lambda books: books.prefetch_related("tags").order_by("pk"),
    "subquery": lambda books: books.filter(author__in=Author.objects.filter(name="A")),
}


def told(row: Any) -> Any:
    """All that is known of a row, its relations included."""
    if not isinstance(row, models.Model):
        return row
    known = {name: value for name, value in row.__dict__.items() if name != "_state"}
    known.pop("_prefetched_objects_cache", None)
    relations = {
        name: None if other is None else (type(other), other.pk, other.__dict__.keys())
        for name, other in row._state.fields_cache.items()
    }
    return type(row), known, relations, row._state.db, row._state.adding


@pytest.mark.parametrize("name", SAME)
def test_rows_are_djangos(shelf: RedisServer, name: str) -> None:
    expected = [told(row) for row in SAME[name](AccountQuerySet(Book))]
    for _ in range(3):
        assert [told(row) for row in SAME[name](Book.objects)] == expected


CACHED = [name for name in SAME if name not in ("named", "none()", "dates", "union", "combined")]


@pytest.mark.parametrize("name", CACHED)
def test_the_second_time_they_are_from_the_cache(shelf: RedisServer, name: str) -> None:
    list(SAME[name](Book.objects))
    before = asked()
    list(SAME[name](Book.objects))
    after = asked()
    assert after.get("hit", 0) == before.get("hit", 0) + 1, after
    assert after.get("miss", 0) == before.get("miss", 0)


def test_a_row_that_was_changed_in_memory_is_not_what_others_get(shelf: RedisServer) -> None:
    for _ in range(3):
        one, other = (
            Book.objects.select_related("author").filter(author__name="B").order_by("pk")[:2]
        )
        assert one.author == other.author
        assert one.author is not other.author
        assert one.author.name == "B"
        one.author.name = one.title = "changed"
        one.facts["pages"] = "changed"


def test_one_to_one_leads_back_to_the_row_itself(shelf: RedisServer) -> None:
    for _ in range(2):
        (one,) = Book.objects.select_related("cover").filter(copies=1)
        assert one.cover.book is one


def test_what_a_related_manager_knows_is_the_object_itself(shelf: RedisServer) -> None:
    author = Author.objects.get(name="B")
    for _ in range(2):
        assert all(one.author is author for one in author.books.all())
        assert author.books.filter(copies=1).get().author is author


def test_single_rows(shelf: RedisServer) -> None:
    for _ in range(2):
        assert Book.objects.get(title="book 1").copies == 1
        assert Book.objects.filter(copies=1).get().title == "book 1"
        assert Book.objects.order_by("-copies").first().title == "book 5"
        assert Book.objects.order_by("copies").last().title == "book 5"
        assert Book.objects.order_by("copies")[2].title == "book 2"
        assert Book.objects.earliest("copies").title == "book 0"
        with pytest.raises(Book.DoesNotExist, match="Book matching query does not exist"):
            Book.objects.get(title="none")
        with pytest.raises(Book.MultipleObjectsReturned):
            Book.objects.get(copies__gt=1)
        assert Book.objects.filter(copies=1).exists()
        assert not Book.objects.filter(copies=100).exists()
        assert Book.objects.count() == len(Book.objects.all()) == 6
        assert Book.objects.order_by("pk")[1:3].count() == 2
        assert Book.objects.aggregate(n=models.Sum("copies")) == {"n": 15}
        assert {*Book.objects.in_bulk()} == {*Book.objects.values_list("pk", flat=True)}
        assert [one.copies for one in Book.objects.order_by("pk").iterator()] == [*range(6)]
        assert next(Book.objects.values_list("copies", flat=True).order_by("pk").iterator()) == 0


def test_errors_stand_where_djangos_stand(shelf: RedisServer) -> None:
    for _ in range(2):
        with pytest.raises(FieldError):
            Book.objects.filter(nothing=1)
        with pytest.raises(FieldError):
            Book.objects.order_by("nothing")
        with pytest.raises(ValueError, match="expected a number"):
            Book.objects.filter(copies="many")
        with pytest.raises(ValueError, match="Negative indexing"):
            Book.objects.order_by("pk")[-1:]
        with pytest.raises(TypeError, match="once a slice has been taken"):
            list(Book.objects.all()[:2].filter(copies=1))


def test_a_queryset_is_no_other_after_it_was_looked_at(shelf: RedisServer) -> None:
    books = Book.objects.filter(copies__gte=3)
    assert str(books.query)
    assert books.filter(copies=4).count() == 1
    assert [one.copies for one in books.order_by("copies")] == [3, 4, 5]
    assert deepcopy(books).count() == 3
    assert len(pickle.loads(pickle.dumps(books))) == 3  # noqa: S301 - its own


def test_no_cache_and_a_time_of_ones_own(shelf: RedisServer) -> None:
    Book.objects.no_cache().get(title="book 1")
    Book.objects.get_queryset().no_cache().filter(copies=1).count()
    list(Book.objects.select_for_update().none())
    assert asked() == {}
    assert Book.objects.cache(7).count() == 6
    with shelf.client as client:
        lives = [client.ttl(key) for key in client.keys("models:*") if not key.endswith(b"v")]
    assert max(lives) <= 7


def test_without_the_account_nothing_is_read(shelf: RedisServer) -> None:
    books = Book.objects.order_by("pk")
    assert len(books.all()) == 6
    with account_context(TWO):
        with pytest.raises(CrossAccount):
            list(books.all())
        with pytest.raises(CrossAccount):
            books.count()
        assert list(Book.objects.order_by("pk")) == []
        assert Book.objects.count() == 0
    with all_accounts(shard_of(ONE)):
        assert Book.objects.count() == 6
        Book.objects.create(title="theirs", account_id=TWO)
        assert Book.objects.count() == 7


def test_outside_any_account_it_raises(cached: RedisServer) -> None:
    with pytest.raises(AccountNotSet):
        list(Book.objects.all())
    with pytest.raises(AccountNotSet):
        Book.objects.get(pk=1)


def test_a_row_of_another_account_is_refused(shelf: RedisServer) -> None:
    author = Author.objects.get(name="A")
    for _ in range(2):
        assert Book.objects.filter(author=author).count() == 2
    with account_context(TWO):
        for _ in range(2):
            with pytest.raises(CrossAccount):
                list(Book.objects.filter(author=author))


def test_reference_rows_are_read_in_the_catalog_and_never_joined(shelf: RedisServer) -> None:
    Language.objects.create(code="en", name="English")
    for _ in range(2):
        assert Language.objects.get(pk="en").name == "English"
    assert asked("shelf.Language") == {"miss": 1, "hit": 1}
    Language.objects.filter(pk="en").update(name="British")
    assert Language.objects.get(pk="en").name == "British"
    Language.objects.all().delete()
    before = asked()
    for _ in range(2):
        assert len(Book.objects.select_related("language").filter(copies=3)) == 1
    assert asked() == before


def test_a_global_model_without_an_account(cached: RedisServer) -> None:
    Publisher.objects.create(name="P")
    for _ in range(2):
        assert [one.name for one in Publisher.objects.filter(name="P")] == ["P"]
    assert asked("shelf.Publisher") == {"miss": 1, "hit": 1}

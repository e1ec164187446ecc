"""What users of django-cache-machine know: times, raw queries, aggregates, empty answers."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.exceptions import FieldError
from django.db.models import Avg, Count, F, FloatField, Max, Q, Sum

from caching.raw import tables_of
from routers import CrossAccount, account_context
from routers.managers import AccountQuerySet
from tests.unit.site.caching.redis_server import RedisServer
from tests.unit.site.caching.shelf.models import Author, Book, Language, Publisher
from tests.unit.site.caching.support import ONE, asked, elsewhere


@pytest.fixture
def shelf(cached: RedisServer) -> Iterator[RedisServer]:
    with account_context(ONE):
        author = Author.objects.create(name="A")
        for number in range(4):
            Book.objects.create(title=str(number), copies=number, author=author, price=number)
        yield cached


def lives(server: RedisServer) -> set[int]:
    """How long entries are kept, in seconds, rounded up to tens."""
    with server.client as client:
        return {-(-client.ttl(key) // 10) * 10 for key in client.keys("models:*}:????????*")}


def test_a_time_of_the_models_own(shelf: RedisServer, monkeypatch: Any) -> None:
    monkeypatch.setattr(Author, "cache_seconds", 500, raising=False)
    assert Author.objects.count() == 1
    assert lives(shelf) == {500}
    assert len(Author.objects.cache(120)) == 1
    assert lives(shelf) == {500, 120}
    assert Book.objects.filter(title="none").count() == 0
    assert lives(shelf) == {500, 120, 3600}


def test_nothing_found_is_an_answer(shelf: RedisServer) -> None:
    for _ in range(2):
        assert list(Book.objects.filter(title="none")) == []
        assert Book.objects.filter(title="none").first() is None
        with pytest.raises(Book.DoesNotExist):
            Book.objects.get(title="none")
    assert asked() == {"miss": 3, "hit": 3}
    Book.objects.create(title="none")
    assert len(Book.objects.filter(title="none")) == 1


AGGREGATES: dict[str, Callable[[Any], Any]] = {
    "by its own name": lambda books: books.aggregate(Sum("copies"), Max("title")),
    "named": lambda books: books.aggregate(n=Count("*"), price=Avg("price")),
    "distinct": lambda books: books.filter(copies__gt=0).aggregate(
        n=Count("author", distinct=True)
    ),
    "over a relation": lambda books: books.aggregate(name=Max("author__name")),
    "of a slice": lambda books: books.order_by("copies")[:2].aggregate(Sum("copies")),
    "of none": lambda books: books.filter(title="none").aggregate(Sum("copies")),
    "as a field is called": lambda books: books.values("author").aggregate(all=Sum("copies")),
}


@pytest.mark.parametrize("name", AGGREGATES)
def test_aggregates(shelf: RedisServer, name: str) -> None:
    ask = AGGREGATES[name]
    expected = ask(AccountQuerySet(Book))
    assert [ask(Book.objects) for _ in range(2)] == [expected] * 2
    assert asked() == {"miss": 1, "hit": 1}
    Author.objects.update(name="B")
    Book.objects.update(copies=F("copies") + 1, title="x")
    assert ask(Book.objects) == elsewhere(lambda: ask(Book.objects)) == ask(AccountQuerySet(Book))


ODD = {
    "filter": Count("id", filter=Q(copies=1)),
    "default": Sum("copies", filter=Q(copies=99), default=7),
    "expression": Sum(F("copies") + 1),
    "output field": Sum("copies", output_field=FloatField()),
}


@pytest.mark.parametrize("name", ODD)
def test_aggregates_that_are_not_kept(shelf: RedisServer, name: str) -> None:
    expected = AccountQuerySet(Book).aggregate(n=ODD[name])
    assert Book.objects.aggregate(n=ODD[name]) == expected
    assert asked() == {}


def test_what_django_has_against_an_aggregate(shelf: RedisServer) -> None:
    for _ in range(2):
        with pytest.raises(TypeError, match="alias"):
            Book.objects.aggregate(Sum(F("copies") + 1))
        with pytest.raises(FieldError):
            Book.objects.aggregate(Sum("nothing"))
        with pytest.raises(TypeError):
            Book.objects.aggregate(n="copies")


ROWS: dict[str, Callable[[Any], Any]] = {
    "first": lambda books: books.order_by("copies").first().title,
    "last": lambda books: books.order_by("copies").last().title,
    "earliest": lambda books: books.earliest("copies").title,
    "latest": lambda books: books.latest("copies").title,
    "in_bulk": lambda books: sorted(one.copies for one in books.in_bulk().values()),
    "in_bulk of some": lambda books: len(books.in_bulk([1, 2])),
    "values": lambda books: list(books.order_by("copies").values("title", "author__name")),
    "values_list": lambda books: list(books.order_by("copies").values_list("title", "price")),
    "contains": lambda books: books.filter(copies=1).contains(books.no_cache().get(copies=1)),
    "exists": lambda books: books.filter(copies=1).exists(),
}


@pytest.mark.parametrize("name", ROWS)
def test_every_other_way_to_ask(shelf: RedisServer, name: str) -> None:
    ask = ROWS[name]
    assert [ask(Book.objects) for _ in range(2)] == [ask(Book.objects.no_cache())] * 2
    assert asked() == {"miss": 1, "hit": 1}


def test_an_iterator_reads_rows_one_by_one_from_the_database(shelf: RedisServer) -> None:
    for _ in range(2):
        assert len([*Book.objects.iterator()]) == 4
    assert asked() == {}


NAMED = "SELECT id, name FROM shelf_publisher WHERE name = %s"


def named(name: str, **options: Any) -> list[str]:
    return [one.name for one in Publisher.objects.cache(**options).raw(NAMED, [name])]


def test_raw_queries(shelf: RedisServer) -> None:
    Publisher.objects.create(name="P")
    for _ in range(2):
        assert named("P") == ["P"]
        assert named("Q") == []
        (one,) = Publisher.objects.raw('SELECT id, 7 AS n FROM "shelf_publisher"')
        assert (one.n, one.name) == (7, "P")
        (one,) = Publisher.objects.raw(
            "SELECT * FROM shelf_publisher p WHERE p.name = %(n)s", {"n": "P"}
        )
        assert one.get_deferred_fields() == set()
        assert one._state.db == "default"
    assert asked("shelf.Publisher") == {"miss": 3 + 1, "hit": 3 + 1}
    Publisher.objects.create(name="Q")
    assert named("Q") == elsewhere(lambda: named("Q")) == ["Q"]


def test_raw_queries_that_are_not_kept(shelf: RedisServer) -> None:
    Publisher.objects.create(name="P")
    raw = Publisher.objects.raw(NAMED, ["P"])
    for _ in range(2):
        assert [one.name for one in raw.no_cache()] == ["P"]
        assert [one.name for one in raw.iterator()] == ["P"]
        assert len(Publisher.objects.no_cache().raw(NAMED, ["P"])) == 1
        assert len(Publisher.objects.raw("SELECT id FROM shelf_publisher WHERE name = 'P'")) == 1
        assert [*Language.objects.raw("SELECT code FROM shelf_language")] == []
    assert asked("shelf.Publisher") == asked("shelf.Language") == {}
    assert len(raw.cache(5)) == 1
    assert asked("shelf.Publisher") == {"miss": 1}
    with pytest.raises(CrossAccount):
        Book.objects.raw("SELECT id FROM shelf_book")  # routers: allow W112 - it is refused


P, L = "shelf_publisher", "shelf_language"
UNDERSTOOD = {
    f"SELECT * FROM {P}": {P},
    f'select "id", name from "{P}" order by id, name': {P},
    f"SELECT * FROM {P} p JOIN {L} AS l ON (l.code = p.name AND p.id IN (1, 2))": {P, L},
    f"SELECT * FROM {P} WHERE name IN (SELECT code FROM {L} WHERE code > %s)": {P, L},
}
OBSCURE = [
    f"SELECT * FROM {P}, {L}",
    f"SELECT * FROM {P} AS p, some_view AS v",
    f"SELECT * FROM {P} p JOIN {L} ON (true), some_view",
    f"SELECT * FROM {P} WHERE id IN (SELECT 1 FROM {L} AS l, some_view)",
    "SELECT * FROM some_view",
    f"SELECT * FROM other.{P}",
    "SELECT * FROM shelf_reading",
    f"SELECT *, (SELECT count(*) FROM shelf_reading) FROM {P}",
    f"SELECT * FROM {P} -- , b",
    f"SELECT now() FROM {P}",
    f"SELECT * FROM some_function(1) JOIN {P} ON true",
    f"WITH p AS (SELECT 1) SELECT * FROM {P}",
    f"DELETE FROM {P}",
    "SELECT 1",
]


@pytest.mark.parametrize("sql", UNDERSTOOD)
def test_tables_of_sql_of_ones_own(sql: str) -> None:
    assert tables_of(sql) == UNDERSTOOD[sql]


@pytest.mark.parametrize("sql", OBSCURE)
def test_sql_that_may_read_more_than_it_says(sql: str) -> None:
    assert tables_of(sql) is None

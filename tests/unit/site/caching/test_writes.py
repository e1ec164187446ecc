"""After any write, by any way, nobody reads anything older: rows, lists, counts, relations."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.db import connections, models, transaction
from django.utils import timezone

import caching
from caching import service
from caching.statements import is_read
from routers import account_atomic, account_context, all_accounts, shard_of
from routers.moving.signals import account_moved
from tests.unit.site.caching.redis_server import RedisServer
from tests.unit.site.caching.shelf.models import Author, Book, Cover, Publisher, Tag, Tagging
from tests.unit.site.caching.support import ONE, TWO, asked, elsewhere

Write = Callable[[], object]


def raw(sql: str) -> Write:
    def run() -> None:
        with connections[shard_of(ONE)].cursor() as cursor:
            cursor.execute(sql, [ONE])

    return run


def book(title: str = "first") -> Book:
    return Book.objects.no_cache().get(title=title)


def saved(**changes: Any) -> None:
    one = book()
    for name, value in changes.items():
        setattr(one, name, value)
    one.save()


def bulk_updated() -> None:
    books = list(Book.objects.no_cache())
    for one in books:
        one.copies = 77
    Book.objects.bulk_update(books, ["copies"])


def in_transaction(write: Write) -> Write:
    def run() -> None:
        with account_atomic():
            write()

    return run


def of_all_accounts() -> None:
    with all_accounts(shard_of(ONE)):
        Book.objects.update(copies=5)


WRITES: dict[str, Write] = {
    "save": lambda: saved(title="renamed"),
    "save some fields": lambda: book().save(update_fields=["copies"]),
    "save in a transaction": in_transaction(lambda: saved(copies=9)),
    "create": lambda: Book.objects.create(title="third"),
    "create through a relation": lambda: Author.objects.get(name="A").books.create(title="third"),
    "get_or_create": lambda: Book.objects.get_or_create(title="third"),
    "update_or_create": lambda: Book.objects.update_or_create({"copies": 4}, title="first"),
    "bulk_create": lambda: Book.objects.bulk_create([Book(title="x"), Book(title="y")]),
    "bulk_update": bulk_updated,
    "update": lambda: Book.objects.filter(title="first").update(copies=9),
    "update by an expression": lambda: Book.objects.update(copies=models.F("copies") + 1),
    "delete": lambda: book().delete(),
    "delete of a queryset": lambda: Book.objects.filter(title="first").delete(),
    "delete that cascades": lambda: Author.objects.get(name="A").delete(),
    "fast delete": lambda: Tagging.objects.all().delete(),
    "many-to-many add": lambda: book("second").tags.add(Tag.objects.no_cache().get(name="new")),
    "many-to-many remove": lambda: book().tags.remove(Tag.objects.no_cache().get(name="new")),
    "many-to-many set": lambda: book().tags.set([]),
    "many-to-many clear": lambda: book().tags.clear(),
    "the parent is saved": lambda: Author.objects.filter(name="A").update(name="B"),
    "a row enters a filter": lambda: saved(copies=1),
    "a row leaves a filter": lambda: Book.objects.filter(copies=3).update(copies=0),
    "the relation is changed": lambda: saved(author=Author.objects.create(name="C")),
    "raw UPDATE": raw("UPDATE shelf_book SET copies = 8 WHERE account_id = %s"),
    "raw UPDATE in lower case": raw("\n update shelf_book SET copies = 8 WHERE account_id = %s"),
    "raw DELETE": raw("DELETE FROM shelf_tagging WHERE account_id = %s"),
    "raw WITH": raw(
        "WITH found AS (SELECT id FROM shelf_book WHERE account_id = %s)"
        " UPDATE shelf_book SET copies = 8 WHERE id IN (SELECT id FROM found)"
    ),
    "raw, two statements": raw("SELECT 1; UPDATE shelf_book SET copies = 8 WHERE account_id = %s"),
    "raw DO": raw("DO $$ BEGIN UPDATE shelf_book SET copies = 8; END $$ /* %s */"),
    "all accounts of the shard": of_all_accounts,
}


@pytest.fixture
def shelf(cached: RedisServer) -> Any:
    with account_context(ONE):
        author, tag = Author.objects.create(name="A"), Tag.objects.create(name="new")
        first = Book.objects.create(title="first", author=author, copies=3, price=Decimal("9.50"))
        Book.objects.create(title="second", author=author, bought_at=timezone.now())
        first.tags.add(tag)
        Cover.objects.create(book=first, colour="red")
        yield


QUESTIONS: list[Callable[[Any], Any]] = [
    lambda books: list(books.order_by("title").values_list("title", "copies", "author_id")),
    lambda books: [
        (b.title, b.copies, b.author and b.author.name) for b in books.select_related("author")
    ],
    lambda books: books.count(),
    lambda books: [b.title for b in books.filter(copies=3)],
    lambda books: books.filter(copies__gte=1).count(),
    lambda books: books.filter(title="first").exists(),
    lambda books: list(books.filter(author__name="A").values_list("title", flat=True)),
    lambda books: sorted(books.filter(tags__name="new").values_list("title", flat=True)),
    lambda books: [(b.title, b.copies) for b in books.order_by("-title")[:1]],
    lambda books: list(
        books.annotate(n=models.Count("tags")).order_by("title").values("title", "n")
    ),
]


def answers(books: Any) -> list[Any]:
    """What every question is answered, an order of its own where there is none."""
    found = [question(books) for question in QUESTIONS]
    return [sorted(one) if isinstance(one, list) and one and type(one[0]) is tuple else one
            for one in found]  # fmt: skip


def everything() -> tuple[list[Any], list[Any]]:
    """By the cache, and past it."""
    return answers(Book.objects.all()), answers(Book.objects.no_cache())


def warm() -> None:
    everything()
    hits = asked().get("hit", 0)
    by_cache, past_it = everything()
    assert by_cache == past_it
    assert asked()["hit"] - hits == len(QUESTIONS), asked()


@pytest.mark.parametrize("name", WRITES)
def test_nothing_is_older_than_a_write(shelf: None, name: str) -> None:
    warm()
    WRITES[name]()
    by_cache, past_it = everything()
    assert by_cache == past_it
    assert elsewhere(everything) == (past_it, past_it)
    by_cache, past_it = everything()
    assert by_cache == past_it


def test_within_a_transaction_its_own_writes_are_seen_and_kept_from_others(shelf: None) -> None:
    warm()
    with account_atomic():
        Book.objects.update(copies=50)
        assert set(Book.objects.values_list("copies", flat=True)) == {50}
        mine, others = everything(), elsewhere(everything)
        assert mine[0] == mine[1]
        assert others[0] == others[1]
        assert others[0] != mine[0]
    by_cache, past_it = everything()
    assert by_cache == past_it == mine[0]


@pytest.mark.parametrize("outer", [True, False], ids=["rollback", "savepoint rollback"])
def test_what_is_rolled_back_was_never_there(shelf: None, outer: bool) -> None:
    warm()
    before = everything()[1]
    with account_atomic():
        with pytest.raises(ValueError, match="undone"), account_atomic():  # noqa: PT012
            Book.objects.update(copies=50)
            assert set(Book.objects.values_list("copies", flat=True)) == {50}
            raise ValueError("undone")
        assert everything() == (before, before)
        if outer:
            Book.objects.update(copies=51)
            transaction.set_rollback(True, using=shard_of(ONE))
    assert everything() == (before, before)
    assert elsewhere(everything) == (before, before)


def test_a_transaction_that_only_reads_takes_from_the_cache_and_keeps_nothing(
    shelf: None, settings: Any
) -> None:
    settings.CACHING = {**settings.CACHING, "LEASE_SECONDS": 60}  # a transaction asks for none
    service.forget()
    warm()
    hits, kept = asked()["hit"], asked()["miss"]
    with account_atomic():
        Book.objects.count()
        Book.objects.filter(copies=12345).count()
    assert asked()["hit"] == hits + 1
    assert asked()["miss"] == kept


def test_another_account_is_not_disturbed(shelf: None) -> None:
    assert shard_of(ONE) == shard_of(TWO)
    with account_context(TWO):
        Book.objects.create(title="theirs")
        assert Book.objects.count() == Book.objects.count() == 1
    Book.objects.update(copies=50)
    hits = asked()["hit"]
    with account_context(TWO):
        assert [b.copies for b in Book.objects.all()] == [0]
        assert Book.objects.count() == 1
    assert asked()["hit"] == hits + 1


def test_bump_and_touch_tell_of_what_nobody_saw(shelf: None) -> None:
    warm()
    with connections[shard_of(ONE)].cursor() as cursor:
        cursor.cursor.execute("UPDATE shelf_book SET copies = 8")
    by_cache, past_it = everything()
    assert by_cache != past_it
    caching.bump(ONE)
    by_cache, past_it = everything()
    assert by_cache == past_it
    warm()
    with account_atomic(), connections[shard_of(ONE)].cursor() as cursor:
        cursor.cursor.execute("UPDATE shelf_book SET copies = 9")
        caching.touch()
    by_cache, past_it = everything()
    assert by_cache == past_it


def test_an_account_that_has_moved_is_told_of(shelf: None) -> None:
    warm()
    with connections[shard_of(ONE)].cursor() as cursor:
        cursor.cursor.execute("UPDATE shelf_book SET copies = 8")
    account_moved.send(sender=None, account_id=ONE, source="shard01", target="shard02")
    by_cache, past_it = everything()
    assert by_cache == past_it


def test_a_global_model_is_known_by_its_table(cached: RedisServer) -> None:
    one = Publisher.objects.create(name="one")
    for _ in range(2):
        assert Publisher.objects.get(pk=one.pk).name == "one"
    assert asked("shelf.Publisher") == {"miss": 1, "hit": 1}
    Publisher.objects.filter(pk=one.pk).update(name="two")
    assert Publisher.objects.get(pk=one.pk).name == "two"
    assert elsewhere(lambda: Publisher.objects.get(pk=one.pk).name) == "two"
    with connections["default"].cursor() as cursor:
        cursor.execute("WITH a AS (SELECT 1) UPDATE shelf_publisher SET name = 'three'")
    assert Publisher.objects.get(pk=one.pk).name == "three"


READS = ["SELECT 1", " select * FROM update_log", "(SELECT 1) UNION (SELECT 2)", "SAVEPOINT x",
         "SELECT 1 FOR UPDATE", "WITH a AS (SELECT 1) SELECT * FROM a FOR UPDATE",
         "CREATE INDEX CONCURRENTLY a ON b (c)", "EXPLAIN SELECT 1", "DROP SUBSCRIPTION a",
         'ALTER SUBSCRIPTION "a" REFRESH PUBLICATION;',
         "DROP INDEX CONCURRENTLY IF EXISTS a"]  # fmt: skip
NO_READS = ["UPDATE a SET b = 1", "/* why */ UPDATE a SET b = 1", "-- why\nDELETE FROM a", "",
            "WITH a AS (DELETE FROM b RETURNING *) SELECT * FROM a", "SELECT 1; DELETE FROM a",
            "CALL f()", "DO $$ $$", "COPY a FROM STDIN", "TRUNCATE a",
            "EXPLAIN ANALYZE UPDATE a SET b = 1",
            "MERGE INTO a USING b ON c WHEN MATCHED THEN DELETE", "ALTER TABLE a ADD b int",
            "EXECUTE prepared", "SET x = 1; UPDATE a SET b = 1", "DROP TABLE a",
            "DROP SUBSCRIPTION a; DELETE FROM a", "DROP INDEX a; UPDATE a SET b = 1"]  # fmt: skip


def test_whatever_is_not_known_to_be_a_read_is_a_write() -> None:
    assert [sql for sql in READS if not is_read(sql)] == []
    assert [sql for sql in NO_READS if is_read(sql)] == []
    assert not is_read(object())

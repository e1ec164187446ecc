"""How often Redis is asked, counted by Redis itself."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from routers import account_atomic, account_context, shard_of
from tests.unit.site.caching.redis_server import RedisServer
from tests.unit.site.caching.shelf.models import Author, Book, Publisher
from tests.unit.site.caching.support import ONE

END = "the end of this test"


@pytest.fixture
def shelf(cached: RedisServer) -> Iterator[RedisServer]:
    with account_context(ONE):
        author = Author.objects.create(name="A")
        Book.objects.bulk_create([Book(title=f"{n:02}", author=author) for n in range(20)])
        Book.objects.exists()
        yield cached


def commands(server: RedisServer, work: Callable[[], Any]) -> list[str]:
    """The commands that `work` sent, scripts as one each.

    Without INFO: a connection asks its server now and then whether it is the primary still.
    """
    with server.client as client, server.client as other:
        other.ping()
        with client.monitor() as monitor:
            return _listened(monitor, work, other)


def _listened(monitor: Any, work: Callable[[], Any], other: Any) -> list[str]:
    work()
    other.echo(END)
    found: list[str] = []
    for line in monitor.listen():
        if END in line["command"]:
            break
        if line["client_type"] != "lua" and not line["command"].startswith("INFO"):
            found.append(line["command"].split()[0])
    return found


HITS: dict[str, Callable[[], Any]] = {
    "get": lambda: Book.objects.get(title="03"),
    "list": lambda: list(Book.objects.select_related("author").order_by("-title")[:20]),
    "count": lambda: Book.objects.count(),
    "filter": lambda: list(Book.objects.filter(copies=0)),
    "related objects": lambda: list(Author.objects.no_cache().get().books.all()),
    "nothing found": lambda: list(Book.objects.filter(title="none")),
}
WRITES: dict[str, Callable[[], Any]] = {
    "save": lambda: Book.objects.no_cache().get(title="03").save(),
    "create": lambda: Book.objects.create(title="more"),
    "update": lambda: Book.objects.update(copies=1),
    "delete": lambda: Author.objects.no_cache().get().delete(),
    "bulk_create of 100": lambda: Book.objects.bulk_create(Book(title=str(n)) for n in range(100)),
}  # fmt: skip


@pytest.mark.parametrize("name", HITS)
def test_a_hit_is_one_round_trip_and_no_sql(shelf: RedisServer, name: str) -> None:
    assert commands(shelf, HITS[name]) == ["MGET", "SET"]
    with CaptureQueriesContext(connections[shard_of(ONE)]) as queries:
        assert commands(shelf, HITS[name]) == ["MGET"]
    assert len(queries) == (1 if name == "related objects" else 0)


def test_the_first_question_of_all_makes_the_token(shelf: RedisServer) -> None:
    with shelf.client as client:
        client.flushall()
        client.script_flush()
    sent = commands(shelf, HITS["count"])
    assert sent == ["MGET", "EVALSHA", "EVAL", "EVALSHA", "SET"]  # a script is sent once


@pytest.mark.parametrize("name", WRITES)
def test_a_write_is_two_round_trips_however_many_rows(shelf: RedisServer, name: str) -> None:
    assert commands(shelf, WRITES[name]) == ["EVALSHA", "EVALSHA"]


def test_a_transaction_is_two_round_trips_however_many_writes(shelf: RedisServer) -> None:
    def work() -> None:
        with account_atomic():
            for write in ("save", "create", "update"):
                WRITES[write]()

    assert commands(shelf, work) == ["EVALSHA", "EVALSHA"]


def test_what_is_not_cached_asks_nothing(shelf: RedisServer) -> None:
    def work() -> None:
        with connections["default"].cursor() as cursor:
            cursor.execute("DELETE FROM shelf_reading")
        Book.objects.no_cache().count()
        with pytest.raises(ValueError, match="rolled"), account_atomic():  # noqa: PT012
            Book.objects.update(copies=3)
            raise ValueError("rolled back")

    assert commands(shelf, work) == []


def test_a_table_of_the_catalog(shelf: RedisServer) -> None:
    one = Publisher.objects.create(name="one")
    Publisher.objects.get(pk=one.pk)
    assert commands(shelf, lambda: Publisher.objects.get(pk=one.pk)) == ["MGET"]
    assert commands(shelf, one.save) == ["EVALSHA", "EVALSHA"]

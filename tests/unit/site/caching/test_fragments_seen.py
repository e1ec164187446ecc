"""What a fragment's work has seen decides whether it is kept: answers of the cache are no SQL."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from time import monotonic
from typing import Any

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from caching import cached, local
from caching.guard import FragmentError
from caching.moments import reading
from routers import account_atomic, account_context, shard_of
from routers.context import Switch
from tests.unit.site.caching.fragment_support import END, TITLES, outcome, page, show
from tests.unit.site.caching.redis_server import RedisServer
from tests.unit.site.caching.shelf.models import Book, Language, Publisher
from tests.unit.site.caching.support import ONE, TWO, elsewhere
from tests.unit.site.caching.test_stampede import Reader, total
from tests.variants import CHECKOUT, PYTHONPATH

ASKED = '{% fragment "f" uses="asked" %}{{ asked }}' + END
ROW = '{% fragment "f" row.title %}{{ row.title }}' + END
REPLICA = "shard02_replica"


class Asked:
    """Asks when it is shown."""

    def __init__(self, question: Callable[[], Any]) -> None:
        self.question = question

    def __str__(self) -> str:
        return str(self.question())


class Undone(Exception):
    """Rolls a transaction back."""


@pytest.fixture
def book(cached: RedisServer, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Book]:
    settings.CACHING = {**settings.CACHING, "STRICT": True, "IN_PROCESS_BYTES": 100_000}
    monkeypatch.setattr(Publisher, "cache_in_process", True, raising=False)
    local.tables.cache_clear()
    local.clear()
    Publisher.objects.create(name="publisher")
    Language.objects.create(code="en", name="English")
    with account_context(TWO):
        Book.objects.create(title="of another account")
    with account_context(ONE):
        made = Book.objects.create(title="a", copies=1)
        until_kept(lambda: show(TITLES))
        yield made
    monkeypatch.undo()
    local.tables.cache_clear()
    local.clear()


def until_kept(question: Callable[[], Any]) -> Any:
    """Its answer, once it takes no SQL: a new token waits for the transactions of others."""
    deadline = monotonic() + 20
    while monotonic() < deadline:
        with (
            CaptureQueriesContext(connections["default"]) as of_catalog,
            CaptureQueriesContext(connections[shard_of(TWO)]) as of_shard,
        ):
            answer = question()
        if not of_catalog.captured_queries + of_shard.captured_queries:
            return answer
    raise AssertionError("it is not kept after 20 s")


def another_accounts() -> Any:
    with account_context(TWO):
        return Book.objects.get().title


KEPT: dict[str, tuple[Callable[[], Any], str]] = {
    "rows": (lambda: Publisher.objects.get().name, "the tables shelf_publisher"),
    "rows of a reference model": (
        lambda: Language.objects.get(code="en").name,
        "the tables shelf_language",
    ),
    "a value of tables": (
        lambda: cached(("own",), lambda: Publisher.objects.count(), tables=[Publisher]),
        "the tables shelf_publisher",
    ),
    "a value for everybody": (
        lambda: cached(
            ("all",), lambda: Publisher.objects.count(), tables=[Publisher], shared=True
        ),
        "the tables shelf_publisher",
    ),
    "another account's rows": (another_accounts, f"a{TWO}"),
}


@pytest.mark.parametrize("case", KEPT)
def test_an_answer_that_is_kept_is_refused_as_its_sql_is(book: Book, case: str) -> None:
    question, what = KEPT[case]
    answer = str(until_kept(question))
    with (
        CaptureQueriesContext(connections["default"]) as of_catalog,
        CaptureQueriesContext(connections[shard_of(TWO)]) as of_shard,
        pytest.raises(FragmentError, match=f"what is kept of {what},"),
    ):
        show(ASKED, asked=Asked(question))
    assert not of_catalog.captured_queries + of_shard.captured_queries, "it is kept"
    with_tables = ASKED.replace("uses", 'tables="shelf_publisher" uses')
    if "publisher" in what:
        assert show(with_tables, asked=Asked(question)) == answer


def test_what_lasts_takes_no_answer_that_is_kept(book: Book) -> None:
    assert until_kept(lambda: Book.objects.get().title) == "a"
    assert show(ASKED, asked=Asked(lambda: Book.objects.get().title)) == "a"
    with pytest.raises(FragmentError, match=f"what is kept of a{ONE},"):
        show(ASKED.replace("uses", "lasting uses"), asked=Asked(lambda: Book.objects.get().title))


def test_sql_of_another_account_is_refused(book: Book) -> None:
    def question() -> str:
        with account_context(TWO):
            return str(Book.objects.no_cache().get().title)

    with pytest.raises(FragmentError, match="the table shelf_book on shard02"):
        show(ASKED, asked=Asked(question))
    nobodys = ASKED.replace("uses", 'tables="shelf_publisher" uses')
    with pytest.raises(FragmentError, match="the table shelf_book on shard02"), Switch(None):
        page(nobodys, asked=Asked(question))


@pytest.mark.parametrize("where", ["in the view", "in the fragment"])
def test_a_stale_answer_is_in_no_fragment(book: Book, where: str) -> None:
    ask = {"on_miss": "stale", "stale": 3600}
    assert until_kept(lambda: cached(("sum",), total, **ask)) == 1
    elsewhere(lambda: Book.objects.update(copies=5))
    until_kept(lambda: show(TITLES))  # the new token is known
    computer = Reader().start()
    assert computer.computes.wait(20)

    def work() -> None:
        with reading():
            asked: Any = Asked(lambda: cached(("sum",), total, **ask))
            if where == "in the view":
                asked = str(asked)
            assert page(ASKED, asked=asked) == "1"

    try:
        assert outcome(work) == ["busy"]
    finally:
        assert computer.answer() == 5
    assert show(ASKED, asked=Asked(lambda: cached(("sum",), total))) == "5"


def test_an_answer_that_is_made_of_a_stale_one_is_not_kept(book: Book) -> None:
    ask: dict[str, Any] = {"on_miss": "stale", "stale": 3600}

    def double(**options: Any) -> int:
        return cached(("double",), lambda: 2 * cached(("sum",), total, **options))

    assert until_kept(lambda: cached(("sum",), total, **ask)) == 1
    elsewhere(lambda: Book.objects.update(copies=5))
    computer = Reader().start()
    assert computer.computes.wait(20)
    try:
        assert double(**ask) == 2
    finally:
        assert computer.answer() == 5
    assert double() == 10


def undone(row: Book) -> None:
    with suppress(Undone), account_atomic():
        _write(row)


def undone_to_a_savepoint(row: Book) -> None:
    with account_atomic():
        Book.objects.filter(pk=0).update(copies=1)
        with suppress(Undone), account_atomic():
            _write(row)


def _write(row: Book) -> None:
    row.title = "never"
    row.save()
    raise Undone


@pytest.mark.parametrize("roll_back", [undone, undone_to_a_savepoint])
@pytest.mark.parametrize("kind", ["", "lasting "])
def test_after_what_was_rolled_back_nothing_is_kept(
    book: Book, roll_back: Callable[[Book], None], kind: str
) -> None:
    def work() -> None:
        with reading():
            row = Book.objects.no_cache().get()
            roll_back(row)
            assert page(ROW.replace("row.title %}", f"row.title {kind}%}}"), row=row) == "never"

    assert outcome(work) == ["busy"]


def test_a_transaction_that_wrote_nothing_may_be_rolled_back(book: Book) -> None:
    def work() -> None:
        with reading():
            with suppress(Undone), account_atomic():
                row = Book.objects.no_cache().get()
                raise Undone
            assert page(ROW, row=row) == "a"

    assert outcome(work) == ["miss"]


@pytest.mark.parametrize("kind", ["", "lasting "])
def test_what_was_read_of_a_replica_is_not_kept(book: Book, settings: Any, kind: str) -> None:
    settings.SHARDING = {**settings.SHARDING, "REPLICAS": {"shard02": [REPLICA]}}
    connections.settings[REPLICA] = connections.settings["shard02"]

    def work() -> None:
        with reading(), connections[REPLICA].cursor() as cursor:
            cursor.execute("SELECT title FROM shelf_book WHERE id = %s", [book.pk])
            row = Book(pk=book.pk, title=cursor.fetchone()[0])
            assert page(ROW.replace("row.title %}", f"row.title {kind}%}}"), row=row) == "a"

    try:
        assert outcome(work) == ["busy"]
    finally:
        connections[REPLICA].close()
        del connections[REPLICA], connections.settings[REPLICA]


FRESH_PROCESS = """
import django
django.setup()
from django.core.signals import request_started
request_started.send(None)
from caching import moments
assert moments._work.get() is not None
"""


def test_the_first_request_of_a_process_has_a_beginning() -> None:
    """Though nothing of the fragments is imported before it."""
    settings = {"DJANGO_SETTINGS_MODULE": "tests.unit.site.caching.settings"}
    environment = {**os.environ, **settings, "PYTHONPATH": PYTHONPATH}
    command = [sys.executable, "-c", FRESH_PROCESS]
    subprocess.run(command, cwd=CHECKOUT, env=environment, check=True, timeout=60)

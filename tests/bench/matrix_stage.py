"""The stage on which a case of the matrix is played: rows, questions, threads that stand still.

What is right is asked of PostgreSQL past Django: what is committed there when a read begins.
"""

from collections.abc import Callable
from threading import Event, Thread, local
from time import monotonic
from typing import Any

import psycopg2
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from tests.bench.matrix_side import ACCOUNTS, HOME, TABLES, Side
from tests.unit.site.caching.redis_server import RedisServer

__all__ = ["DEADLINE", "QUESTIONS", "Paused", "Stage", "points", "watch_connections"]

DEADLINE = 20.0  # seconds
Answer = list[tuple[Any, ...]]
Stand = Callable[[], None]

points = local()
"""Of this thread: `after_select` and `after_commit`, called once; `statements`, a number."""


def _get(side: Side) -> Answer:
    return [(one.title, one.copies) for one in side.rows("Book").filter(pk=1)]


def _list(side: Side) -> Answer:
    books = side.rows("Book").select_related("author").order_by("title")[:20]
    return [(one.title, one.copies, one.author and one.author.name) for one in books]


def _in(place: str) -> Callable[[Side], Answer]:
    return lambda side: [
        (one.title,) for one in side.rows("Book").filter(place=place).order_by("title")
    ]


def _tags(side: Side) -> Answer:
    return [(one.name,) for one in side.rows("Tag").filter(book__pk=1).order_by("name")]


IN = "SELECT title FROM matrix_book WHERE place = '{}' ORDER BY title"
QUESTIONS: dict[str, tuple[Callable[[Side], Answer], str]] = {
    "get": (_get, "SELECT title, copies FROM matrix_book WHERE id = 1"),
    "list": (
        _list,
        "SELECT title, copies, name FROM matrix_book LEFT JOIN matrix_author ON author_id ="
        " matrix_author.id ORDER BY title LIMIT 20",
    ),
    "count": (lambda side: [(side.rows("Book").count(),)], "SELECT count(*) FROM matrix_book"),
    "upstairs": (_in("upstairs"), IN.format("upstairs")),
    "cellar": (_in("cellar"), IN.format("cellar")),
    "tags": (
        _tags,
        "SELECT name FROM matrix_tag JOIN matrix_tagging ON tag_id = matrix_tag.id"
        " WHERE book_id = 1 ORDER BY name",
    ),
}
FILL = """
INSERT INTO matrix_author SELECT n, %(account)s, %(alias)s || ' ' || n FROM generate_series(1, 2) n;
INSERT INTO matrix_tag VALUES (1, %(account)s, 'red'), (2, %(account)s, 'blue');
INSERT INTO matrix_book SELECT n, %(account)s, %(alias)s || ' ' || n, 0,
    CASE WHEN n < 3 THEN 'upstairs' ELSE 'cellar' END, CASE WHEN n < 3 THEN 1 ELSE 2 END
    FROM generate_series(1, %(rows)s) n;
INSERT INTO matrix_tagging VALUES (1, %(account)s, 1, 1);
"""


class Stage:
    """Of one side. `wrong`: (question, seen, right) of the case that is played."""

    def __init__(self, side: Side, server: RedisServer) -> None:
        self.side, self.server = side, server
        self.wrong: list[tuple[str, Answer, Answer]] = []
        self.errors: list[str] = []
        self.raw = {alias: _raw(side, alias) for alias in ACCOUNTS.values()}

    def reset(self) -> None:
        """Five books at home and four at the other account's, with the same keys; nothing kept."""
        connections.close_all()
        self.wrong, self.errors = [], []
        for account, alias in ACCOUNTS.items():
            self.empty(alias)
            given = {"account": account, "alias": alias, "rows": 5 if account == HOME else 4}
            self.sql(alias, FILL, given)
            self.sql(alias, "UPDATE caching_service SET is_off = false, epoch = epoch + 1")
        with self.server.client as client:
            client.flushall()
        self.side.home_again()

    def empty(self, alias: str) -> None:
        for table in TABLES:
            self.sql(alias, f"DELETE FROM {table}")

    def sql(self, alias: str, sql: str, given: Any = None) -> Any:
        """Past Django: rows, or None."""
        with self.raw[alias].cursor() as cursor:
            cursor.execute(sql, given)
            return cursor.fetchall() if cursor.description else None

    def copy(self, source: str, target: str) -> None:
        """All rows, as replication writes them."""
        self.empty(target)
        for table in reversed(TABLES):
            for row in self.sql(source, f"SELECT * FROM {table}"):
                self.sql(target, f"INSERT INTO {table} VALUES %s", (row,))

    def connect(self) -> Any:
        """Another connection to the account's database, past Django."""
        return _raw(self.side, self.side.alias)

    def ask(self, question: str) -> Answer:
        return QUESTIONS[question][0](self.side)

    def truth(self, question: str) -> Answer:
        found: Answer = self.sql(self.side.alias, QUESTIONS[question][1])
        return found

    def warm(self) -> None:
        """Everything is in the cache. Raises where it does not get there."""
        for question in QUESTIONS:
            self.until_kept(question)

    def until_kept(self, question: str) -> None:
        """Ask until no SQL is run, each answer being compared."""
        until = monotonic() + DEADLINE
        while True:
            before = getattr(points, "statements", 0)
            self.compare(question, self.truth(question), self.attempt(self.ask, question))
            if before == getattr(points, "statements", 0):
                return
            if monotonic() > until:
                raise TimeoutError(f"{question} is not kept")
            Event().wait(0.01)

    def check(self, *, here: bool = True) -> None:
        """Every question, in this thread and in another one, is answered with what is committed."""
        right = {question: self.truth(question) for question in QUESTIONS}
        for asked in ([self._answers] if here else []) + [lambda: elsewhere(self, self._answers)]:
            for question, seen in asked().items():
                self.compare(question, right[question], seen)

    def _answers(self) -> dict[str, Any]:
        return {question: self.attempt(self.ask, question) for question in QUESTIONS}

    def compare(self, question: str, right: Answer, seen: Answer | None) -> None:
        if seen is not None and seen != right:
            self.wrong.append((question, seen, right))

    def attempt(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """What it returns; None where it has failed, which is noted."""
        try:
            return work(*arguments)
        except Exception as error:
            self.errors.append(f"{type(error).__name__}: {error}")
            return None


class Paused:
    """Work in another thread, handed a function where it stands still while the block runs."""

    def __init__(self, stage: Stage, work: Callable[[Stand], object]) -> None:
        self.arrived, self.may_go, self.failed = Event(), Event(), list[BaseException]()
        account = stage.side.account

        def run() -> None:
            try:
                with stage.side.on(account):
                    work(self._stand)
            except BaseException as error:
                self.failed.append(error)
            finally:
                self.arrived.set()
                connections.close_all()

        self.thread, self.stood = Thread(target=run), False

    def go(self) -> None:
        """It stands still no more; the block does not wait for it before its end."""
        self.may_go.set()

    def _stand(self) -> None:
        self.stood = True
        self.arrived.set()
        if not self.may_go.wait(DEADLINE):
            raise TimeoutError("nobody let it go on")

    def __enter__(self) -> "Paused":
        self.thread.start()
        if not self.arrived.wait(DEADLINE) or not self.stood:
            self.__exit__()
            raise TimeoutError("it never stood still")
        return self

    def __exit__(self, *args: object) -> None:
        self.go()
        self.thread.join(DEADLINE)
        if self.failed:
            raise self.failed[0]


def elsewhere(stage: Stage, work: Callable[[], Any]) -> Any:
    """What it returns in another thread, which has connections of its own."""
    answer: list[Any] = []
    with Paused(stage, lambda stand: (stand(), answer.append(work()))):
        pass
    return answer[0]


def watch_connections() -> None:
    """Call the points. Before the first connection."""
    commit = BaseDatabaseWrapper._commit  # type: ignore[attr-defined]

    def committed(self: Any) -> None:
        commit(self)
        _pass("after_commit")

    def executed(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        points.statements = getattr(points, "statements", 0) + 1
        answer = execute(sql, params, many, context)
        if str(sql).startswith("SELECT"):
            _pass("after_select")
        return answer

    def connected(sender: object, connection: Any, **kwargs: object) -> None:
        if executed not in connection.execute_wrappers:
            connection.execute_wrappers.append(executed)

    BaseDatabaseWrapper._commit = committed  # type: ignore[attr-defined]
    connection_created.connect(connected, weak=False)


def _pass(point: str) -> None:
    act = points.__dict__.pop(point, None)
    if act is not None:
        act()


def _raw(side: Side, alias: str) -> Any:
    login = side.given["databases"][alias]
    keys = {"HOST": "host", "PORT": "port", "NAME": "dbname", "USER": "user"}
    names = {**keys, "PASSWORD": "password"}
    connection = psycopg2.connect(**{name: login[key] for key, name in names.items()})
    connection.autocommit = True
    return connection

"""The stage on which a case of the matrix is played: its rows, and what is right.

That is asked of PostgreSQL past Django: what is committed there when a read begins.
"""

from collections.abc import Callable
from threading import Event
from time import monotonic
from typing import Any

import psycopg2
from django.db import connections

from tests.bench.matrix_questions import QUESTIONS, Answer
from tests.bench.matrix_side import ACCOUNTS, HOME, TABLES, Side
from tests.bench.matrix_threads import DEADLINE, elsewhere, points
from tests.unit.site.caching.redis_server import RedisServer

__all__ = ["Stage"]

FILL = """
INSERT INTO matrix_author SELECT n, %(account)s, %(alias)s || ' ' || n FROM generate_series(1, 2) n;
INSERT INTO matrix_tag VALUES (1, %(account)s, 'red'), (2, %(account)s, 'blue');
INSERT INTO matrix_book SELECT n, %(account)s, %(alias)s || ' ' || n, 0,
    CASE WHEN n < 3 THEN 'upstairs' ELSE 'cellar' END, CASE WHEN n < 3 THEN 1 ELSE 2 END
    FROM generate_series(1, %(rows)s) n;
INSERT INTO matrix_tagging VALUES (1, %(account)s, 1, 1);
"""


class Stage:
    """Of one side. `wrong`: (question, seen, right) of the case that is played; and its errors."""

    server: RedisServer

    def __init__(self, side: Side) -> None:
        self.side = side
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
        answers = [elsewhere(self.side, self._answers), *([self._answers()] if here else [])]
        for seen in answers:
            for question in QUESTIONS:
                self.compare(question, right[question], seen[question])

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


def _raw(side: Side, alias: str) -> Any:
    login = side.given["databases"][alias]
    keys = {"HOST": "host", "PORT": "port", "NAME": "dbname", "USER": "user"}
    names = {**keys, "PASSWORD": "password"}
    connection = psycopg2.connect(**{name: login[key] for key, name in names.items()})
    connection.autocommit = True
    return connection

"""Reading whole databases, for reports: read-only, in bounded time, several at once."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from routers.deadline import own_connection

__all__ = ["SECONDS", "Reader", "ask_each", "reader"]

SECONDS = 20.0
JOBS = 8
T = TypeVar("T")


@dataclass
class Reader:
    """A read-only transaction on one database."""

    connection: BaseDatabaseWrapper
    cursor: CursorWrapper

    @property
    def is_postgresql(self) -> bool:
        return self.connection.vendor == "postgresql"

    def rows(self, sql: str, parameters: list[int | str] | None = None) -> list[tuple[object, ...]]:
        self.cursor.execute(sql, parameters)
        found: list[tuple[object, ...]] = self.cursor.fetchall()
        return found

    def number(self, sql: str, parameters: list[int | str] | None = None) -> int:
        return int(str(self.rows(sql, parameters)[0][0]))

    def bytes_of(self, table: str) -> int:
        """A table's own size, without its indexes; 0 where the engine does not say."""
        return self.number("SELECT pg_relation_size(%s)", [table]) if self.is_postgresql else 0


@contextmanager
def reader(alias: str, seconds: float = SECONDS) -> Iterator[Reader]:
    """Read one database, for so long at most, in one snapshot."""
    with own_connection(alias, seconds) as connection, connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            # The server too, or it would go on after we have hung up.
            cursor.execute("SET LOCAL statement_timeout = %s", [int(seconds * 1000)])
        yield Reader(connection, cursor)
        if connection.vendor == "postgresql":
            cursor.execute("COMMIT")


def ask_each(
    aliases: list[str], ask: Callable[[Reader], T], seconds: float = SECONDS
) -> dict[str, T | str]:
    """Each database's answer, or the text of its error; all are asked at the same time."""

    def one(alias: str) -> T | str:
        try:
            with reader(alias, seconds) as opened:
                return ask(opened)
        except Error as error:
            return (str(error).strip() or type(error).__name__).splitlines()[0]

    with ThreadPoolExecutor(max_workers=JOBS) as pool:
        return dict(zip(aliases, pool.map(one, aliases), strict=True))

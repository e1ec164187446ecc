"""Threads of the matrix that stand still where a case says, and the points where they can.

`points.after_select`, `points.before_commit` and `points.after_commit` are of this thread:
functions, called once: next to what is sent to PostgreSQL, nearer than any library's own steps.
`points.statements` counts what Django has sent.
"""

from collections.abc import Callable
from threading import Event, Thread, local
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from tests.bench.matrix_side import Side

__all__ = ["DEADLINE", "Paused", "elsewhere", "points", "watch_connections"]

DEADLINE = 20.0  # seconds
Stand = Callable[[], None]

points = local()


class Paused:
    """Work in another thread, handed a function where it stands still while the block runs."""

    def __init__(self, side: Side, work: Callable[[Stand], object]) -> None:
        self.arrived, self.may_go, self.failed = Event(), Event(), list[BaseException]()
        account = side.account

        def run() -> None:
            try:
                with side.on(account):
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


def elsewhere(side: Side, work: Callable[[], Any]) -> Any:
    """What it returns in another thread, which has connections of its own."""
    answer: list[Any] = []
    with Paused(side, lambda stand: (stand(), answer.append(work()))):
        pass
    return answer[0]


def watch_connections() -> None:
    """Call the points. Before the first connection."""
    commit = BaseDatabaseWrapper._commit  # type: ignore[attr-defined]

    def committed(self: Any) -> None:
        _pass("before_commit")
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

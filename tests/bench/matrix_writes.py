"""Ways to write, and those cases of the matrix that are one write and a look at everything."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from django.db import connections, transaction

from tests.bench.matrix_stage import Stage

__all__ = ["WRITES", "atomic", "saved", "saved_in_transaction"]

Write = Callable[[Stage], object]


class Undone(Exception):
    """Rolls a transaction back."""


def atomic(stage: Stage) -> Any:
    """A transaction where the account lives."""
    return transaction.atomic(using=stage.side.alias)


def saved(stage: Stage, key: int = 1, **changes: Any) -> None:
    """A row is read, changed and saved."""
    one = stage.side.rows("Book").get(pk=key)
    for name, value in (changes or {"title": "new"}).items():
        setattr(one, name, value)
    one.save()


def saved_in_transaction(stage: Stage, key: int = 1) -> None:
    with atomic(stage):
        saved(stage, key)


def _new(stage: Stage, title: str) -> Any:
    """A row that is not saved yet."""
    return stage.side.models["Book"](title=title, account_id=stage.side.account, author_id=2)


def create(stage: Stage) -> None:
    stage.side.rows("Book").create(title="a", account_id=stage.side.account, author_id=2)


def bulk_create(stage: Stage) -> None:
    stage.side.rows("Book").bulk_create([_new(stage, "a"), _new(stage, "b")])


def bulk_update(stage: Stage) -> None:
    books = list(stage.side.rows("Book").filter(pk__lt=3))
    for one in books:
        one.copies = 7
    stage.side.rows("Book").bulk_update(books, ["copies"])


def change_tags(stage: Stage) -> None:
    """One more, then another one less."""
    blue, red = (stage.side.rows("Tag").get(pk=key) for key in (2, 1))
    tags = stage.side.rows("Book").get(pk=1).tags
    tags.add(blue, through_defaults={"account_id": stage.side.account})
    stage.check()
    tags.remove(red)


def rename_author(stage: Stage) -> None:
    author = stage.side.rows("Author").get(pk=1)
    author.name = "renamed"
    author.save()


def raw_sql(stage: Stage) -> None:
    with connections[stage.side.alias].cursor() as cursor:
        cursor.execute("UPDATE matrix_book SET title = 'raw' WHERE id = %s", [1])


def roll_back(stage: Stage) -> None:
    with suppress(Undone), atomic(stage):
        _write_and_see(stage)
        raise Undone


def roll_back_to_savepoint(stage: Stage) -> None:
    with atomic(stage):
        with suppress(Undone), atomic(stage):
            _write_and_see(stage)
            raise Undone
        _see(stage, stage.truth("get"))
        saved(stage, 2, title="another")


def _write_and_see(stage: Stage) -> None:
    """The transaction sees what it has written, and nobody else does."""
    saved(stage, title="never")
    _see(stage, [("never", 0)])
    stage.check(here=False)


def _see(stage: Stage, right: Any) -> None:
    stage.compare("get", right, stage.attempt(stage.ask, "get"))


def _one(write: Write) -> Write:
    """A case."""

    def case(stage: Stage) -> None:
        stage.warm()
        write(stage)
        stage.check()

    return case


def _books(stage: Stage, **which: Any) -> Any:
    return stage.side.rows("Book").filter(**which)


WRITES: dict[str, Write] = {
    name: _one(write)
    for name, write in {
        "save()": saved,
        "save() in a transaction": saved_in_transaction,
        "rollback": roll_back,
        "rollback to a savepoint": roll_back_to_savepoint,
        "create()": create,
        "delete()": lambda stage: _books(stage).get(pk=1).delete(),
        "QuerySet.update()": lambda stage: _books(stage, pk=1).update(title="new"),
        "QuerySet.delete()": lambda stage: _books(stage, pk__lt=3).delete(),
        "bulk_create()": bulk_create,
        "bulk_update()": bulk_update,
        "many-to-many add(), remove()": change_tags,
        "SQL through Django's cursor": raw_sql,
        "delete() that cascades": lambda stage: stage.side.rows("Author").get(pk=1).delete(),
        "a row moves between filters": lambda stage: saved(stage, place="cellar"),
        "the parent in select_related is saved": rename_author,
    }.items()
}

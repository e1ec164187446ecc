"""What the readers of the matrix ask, each with the SQL that says what is right."""

from collections.abc import Callable
from typing import Any

from tests.bench.matrix_side import Side

__all__ = ["QUESTIONS", "Answer"]

Answer = list[tuple[Any, ...]]


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

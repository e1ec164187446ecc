"""Keyset pagination: the page after, or before, a row, whatever the number of rows before it.

An offset reads and throws away all the rows that it skips; a keyset begins at the last row seen.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from django.core.exceptions import ValidationError
from django.core.signing import BadSignature, Signer
from django.db import models
from django.db.models import F, Q, QuerySet

__all__ = ["BadCursor", "Page", "paginate"]

M = TypeVar("M", bound=models.Model)


class BadCursor(ValueError):
    """A page cursor that this site did not make."""


@dataclass(frozen=True)
class Page(Generic[M]):
    """Rows, and the cursors of the pages around them (None at the ends)."""

    rows: list[M]
    after: str | None
    before: str | None


@dataclass(frozen=True)
class _Order:
    """An order by one column, then by id. Descending puts NULL last, ascending first."""

    column: str
    descending: bool
    nullable: bool

    def reversed(self) -> "_Order":
        return _Order(self.column, not self.descending, self.nullable)

    def by(self) -> list[Any]:
        if not self.nullable:  # names alone make a query whose cached answer is cheapest to find
            return [f"-{self.column}", "-id"] if self.descending else [self.column, "id"]
        if self.descending:
            return [F(self.column).desc(nulls_last=True), "-id"]
        return [F(self.column).asc(nulls_first=True), "id"]

    def following(self, value: Any, row_id: int) -> Q:
        """The rows that come after (value, id)."""
        sign = "lt" if self.descending else "gt"
        is_null, later_id = Q(**{f"{self.column}__isnull": True}), Q(**{f"id__{sign}": row_id})
        if value is None:
            tied = is_null & later_id
            return tied if self.descending else tied | ~is_null
        # `<= value AND (…)` lets the engine start at the right place in an index; `OR` alone
        # would make it read from the index's beginning.
        later = Q(**{f"{self.column}__{sign}e": value}) & (
            Q(**{f"{self.column}__{sign}": value}) | later_id
        )
        return later | is_null if self.nullable and self.descending else later


def paginate(
    rows: QuerySet[M],
    *,
    column: str,
    descending: bool,
    nullable: bool,
    size: int,
    after: str | None = None,
    before: str | None = None,
) -> Page[M]:
    """One page of `rows`, in one query. `column` may cross a foreign key (`candidate__name`).

    Raises BadCursor.
    """
    order = _Order(column, descending, nullable)
    cursor = after or before
    backwards = bool(before and not after)
    direction = order.reversed() if backwards else order
    if cursor:
        rows = _following(rows, direction, cursor)
    found = list(rows.order_by(*direction.by())[: size + 1])
    more, found = len(found) > size, found[:size]
    if backwards:
        found.reverse()
    has_next, has_previous = (bool(cursor), more) if backwards else (more, bool(cursor))
    return Page(
        rows=found,
        after=_cursor(found[-1], column) if found and has_next else None,
        before=_cursor(found[0], column) if found and has_previous else None,
    )


def _following(rows: QuerySet[M], order: _Order, cursor: str) -> QuerySet[M]:
    try:
        value, row_id = _signer(order.column).unsign_object(cursor)
        return rows.filter(order.following(value, row_id))
    except (BadSignature, TypeError, ValueError, ValidationError) as error:
        raise BadCursor(cursor) from error


def _cursor(row: models.Model, column: str) -> str:
    value: Any = row
    for name in column.split("__"):
        value = getattr(value, name)
    if isinstance(value, datetime):
        value = value.isoformat()
    return _signer(column).sign_object([value, row.pk])


def _signer(column: str) -> Signer:
    """Cursors are signed, so that nothing but what this site made reaches a query."""
    return Signer(salt=f"keyset {column}")

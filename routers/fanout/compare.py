"""Comparing values of several shards as the database compares them.

NaN comes after every number, and text goes by code point, which is what the collation C means. The
shard is told to order text so too, where its own collation is another.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.functions import Collate

from routers.exceptions import NotDivisible
from routers.fanout.divide import parts

__all__ = ["Descending", "binary_text", "comparable", "is_text"]

CODE_POINT_ORDER = {"C", "POSIX", "C.UTF-8", "C.UTF8", "C.utf8", "ucs_basic", "BINARY"}
TEXT = (models.CharField, models.TextField, models.FileField, models.FilePathField)
WITH_NAN = (models.FloatField, models.DecimalField)
SAME_ORDER = (
    *(models.IntegerField, models.BooleanField, models.DateField, models.TimeField),
    *(models.DurationField, models.UUIDField),
)


class Descending:
    """A value that sorts the other way round."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __lt__(self, other: "Descending") -> bool:
        return bool(other.value < self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Descending) and bool(other.value == self.value)

    __hash__ = None  # type: ignore[assignment]


def comparable(field: Any, label: str) -> Callable[[Any], Any]:
    """What makes a value of the field comparable as the database does. Raises NotDivisible."""
    stored = _stored(field)
    if isinstance(stored, (*TEXT, *SAME_ORDER)):
        return _same
    if isinstance(stored, WITH_NAN):
        return _nan_last
    if isinstance(stored, models.BinaryField):
        return bytes
    raise NotDivisible(
        f"{label}: values of {type(field).__name__} cannot be compared outside the database. "
        f"Order by another expression, or Cast() it to text or a number."
    )


def is_text(field: Any) -> bool:
    """Whether the database compares values of the field by a collation."""
    return isinstance(_stored(field), TEXT)


def binary_text(expression: Any, connection: BaseDatabaseWrapper) -> Any:
    """The expression; text that the database would compare otherwise, compared by code point."""
    field = _stored(expression.output_field)
    if not isinstance(field, TEXT):
        return expression
    _refuse_collation(expression)
    if connection.vendor == "sqlite":
        own = getattr(field, "db_collation", None)
        return Collate(expression, "BINARY") if own else expression
    if getattr(field, "db_collation", None) is None and _orders_by_code_point(connection.alias):
        return expression
    return Collate(expression, "C")


def _refuse_collation(expression: Any) -> None:
    for part in parts(expression):
        collation = getattr(part, "collation", None)
        if isinstance(part, Collate) and collation not in CODE_POINT_ORDER:
            raise NotDivisible(
                f"Text cannot be compared by the collation {collation} outside the database. "
                f'Leave out Collate(), or use Collate(…, "C"), and sort the page that you show.'
            )


@cache
def _orders_by_code_point(alias: str) -> bool:
    with connections[alias].cursor() as cursor:
        cursor.execute(
            "SELECT datcollate, to_jsonb(d) ->> 'datlocprovider' FROM pg_database d"
            " WHERE datname = current_database()"
        )
        collation, provider = cursor.fetchone()
    return collation in CODE_POINT_ORDER and provider != "i"


def _stored(field: Any) -> Any:
    while getattr(field, "remote_field", None):
        field = field.target_field
    return field


def _same(value: Any) -> Any:
    return value


def _nan_last(value: Any) -> tuple[bool, Any]:
    return (True, 0) if value != value else (False, value)  # as NaN alone does

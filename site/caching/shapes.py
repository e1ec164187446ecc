"""What a queryset was asked, told without building the query.

A step is (method, positional arguments, named arguments), of plain values only. Its shape is the
step without the values. What a shape is good for is found out once in a process, by building and
compiling one such query: whether values of these types can be checked later, which tables it reads,
whether its answer depends on those tables alone.
"""

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.core.exceptions import FieldDoesNotExist
from django.db import models

__all__ = ["NotUnderstood", "Step", "is_lazy", "plain", "settled", "shape_of", "tables_in"]

Step = tuple[str, tuple[Any, ...], tuple[tuple[str, Any], ...]]

SIMPLE = frozenset({int, str, bool, type(None), float, datetime, date, time, timedelta})
SIMPLE |= {Decimal, UUID, bytes, slice}
TABLE = re.compile(r'\b(?:FROM|JOIN)\s+(?:"(\w+)"|\((?=\s*SELECT)|(\S+))', re.I)
ANOTHER_TABLE = re.compile(r'\bFROM\s+"\w+"(?:\s+"?\w+"?)?\s*,', re.I)
VOLATILE = re.compile(
    r"\b(?:now|random|current_\w+|localtime\w*|(?:clock|statement|transaction)_timestamp|timeofday"
    r"|nextval|currval|lastval|txid_\w+|pg_\w+|gen_random_uuid|uuid_generate\w*|set_config"
    r"|routers_\w+)\b",
    re.I,
)
UNSAVED = object()  # is of no field's type, so Django gets to see the row itself
TEXT = (models.CharField, models.TextField)
NUMBER = (models.IntegerField,)  # AutoField and BigAutoField are of it too
LOOKUPS = frozenset(
    "exact iexact gt gte lt lte contains icontains startswith istartswith endswith"
    " iendswith".split()
)


class NotUnderstood(Exception):
    """A value whose repr() does not say all about it."""


def plain(value: Any) -> Any:
    """The value, as something whose repr() tells it from every other. Raises NotUnderstood."""
    kind = type(value)
    if kind is int or kind is str:
        return value
    if kind is datetime and value.tzinfo is not None:
        return ("moment", value.astimezone(UTC).isoformat())
    if kind in SIMPLE:
        return value
    if kind is tuple or kind is list:
        return tuple(map(plain, value))
    if isinstance(value, models.Model):
        account = value.__dict__.get("account_id")
        return ("row", value._meta.label, plain(value.pk), account, value._state.db)
    raise NotUnderstood(kind.__name__)


def settled(named: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Named arguments that do not change any more: lists are copied, rows have a key."""
    return tuple((name, _settled(value)) for name, value in named.items())


def _settled(value: Any) -> Any:
    if type(value) is list:
        return tuple(value)
    if isinstance(value, models.Model) and value.pk is None:
        return UNSAVED
    return value


def shape_of(step: Step) -> Any:
    """The step without values: names of fields stay, for they decide on tables.

    Raises TypeError for a step that can have none.
    """
    method, args, named = step
    if method == "[:]":
        return method
    return (method, args, tuple([(name, _kind(value)) for name, value in named]))


def _kind(value: Any) -> Any:
    kind = type(value)
    return (kind, frozenset(map(type, value))) if kind is tuple else kind


def is_lazy(model: type[models.Model], conditions: Iterable[tuple[str, Any]]) -> bool:
    """Whether Django could find nothing wrong with these values: of the field's own type."""
    return all(_is_own_type(model, name, value) for name, value in conditions)


def _is_own_type(model: Any, name: str, value: Any) -> bool:
    if type(value) in (list, tuple) and name.endswith("__in"):
        path = name.removesuffix("__in")
        return all(one is not None and _is_own_type(model, path, one) for one in value)
    if type(value) not in (int, str, bool, type(None)) and not isinstance(value, models.Model):
        return False
    field, rest = _field(model, name.split("__"))
    if field is None:
        return False
    if rest == ["isnull"]:
        return type(value) is bool
    if rest and not (len(rest) == 1 and rest[0] in LOOKUPS):
        return False
    if isinstance(value, models.Model):
        return not rest and field.is_relation and isinstance(value, field.related_model)
    while field.is_relation and hasattr(field, "target_field"):
        field = field.target_field
    if value is None:
        return not rest
    if type(value) is str:
        return isinstance(field, TEXT)
    if type(value) is bool:
        return isinstance(field, models.BooleanField)
    return isinstance(field, NUMBER)


def _field(model: Any, path: list[str]) -> tuple[Any, list[str]]:
    """The field at the end of a path over relations, and what is left of the path."""
    field: Any = None
    while path:
        name = model._meta.pk.name if path[0] == "pk" else path[0]
        try:
            found = model._meta.get_field(name)
        except FieldDoesNotExist:
            break
        field, path = found, path[1:]
        if not field.is_relation or field.related_model is None:
            break
        model = field.related_model
    return field, path


def tables_in(sql: str) -> frozenset[str] | None:
    """The tables that a SELECT reads; None where that, or its answer, depends on something else."""
    if VOLATILE.search(sql) or ANOTHER_TABLE.search(sql):
        return None
    tables = set()
    for quoted, other in TABLE.findall(sql):
        if other:
            return None
        if quoted:
            tables.add(quoted)
    return frozenset(tables) or None

"""The order of rows from several shards: what the database would have done over all of them.

The values that a shard orders by come back with each row, and are compared here.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.expressions import ExpressionWrapper, OrderBy, Ref
from django.db.models.query import (
    FlatValuesListIterable,
    ModelIterable,
    NamedValuesListIterable,
    ValuesIterable,
    ValuesListIterable,
)
from django.db.models.utils import create_namedtuple_class

from routers.fanout.compare import Descending, binary_text, comparable, is_text

__all__ = ["Keyed"]

NAME = "fan_out_key_{}"


@dataclass(frozen=True)
class Term:
    """One of the expressions that a query is ordered by."""

    convert: Callable[[Any], Any]
    descending: bool
    nulls_first: bool

    def key(self, value: Any) -> Any:
        if value is None:
            return (0 if self.nulls_first else 2, None)
        value = self.convert(value)
        return (1, Descending(value) if self.descending else value)


class Keyed:
    """A shard's query in its order, whose rows come with a key that can be compared.

    `total` adds the primary key, where it can, as the last word between equal rows.
    """

    def __init__(self, queryset: Any, alias: str, *, total: bool) -> None:
        self.queryset, query = queryset, queryset.query
        self._names: list[str] = []
        self._terms: list[Term] = []
        connection = connections[alias]
        self._shape = _shape(queryset)
        expressions = _ordering(query, alias)
        if total and not (query.group_by or query.combinator or _has_values_once(query)):
            _add_key(query, expressions)
        for number, expression in enumerate(expressions):
            self._add(NAME.format(number), expression, connection)
        query.clear_ordering(force=True)
        query.order_by, query.standard_ordering = tuple(expressions), True

    @property
    def is_ordered(self) -> bool:
        return bool(self._terms)

    def rows(self, chunk_size: int, *, streamed: bool) -> Iterator[tuple[Any, Any]]:
        """(key, row) in order; streamed, the database keeps what was not yet fetched."""
        if self.queryset._iterable_class is ModelIterable:
            split = self._from_instance
        else:
            self.queryset._iterable_class = ValuesListIterable
            split = self._from_tuple
        for row in self.queryset._iterator(streamed, chunk_size):
            yield split(row)

    def _add(self, name: str, order: Any, connection: BaseDatabaseWrapper) -> None:
        """Have the expression's value returned, and make it what the shard orders by."""
        source, field = order.expression, order.expression.output_field
        query = self.queryset.query
        self._terms.append(
            Term(
                comparable(field, query.model._meta.label),
                order.descending,
                _nulls_first(order, connection),
            )
        )
        value = binary_text(source, connection)
        if is_text(field):
            value = ExpressionWrapper(value, output_field=models.TextField())
        query.append_annotation_mask([name])
        query.annotations[name] = value
        if query.selected:
            query.selected[name] = name
        order.set_source_expressions([value])
        self._names.append(name)

    def _from_instance(self, row: Any) -> tuple[Any, Any]:
        values = [row.__dict__.pop(name) for name in self._names]
        return self._key(values), row

    def _from_tuple(self, row: Any) -> tuple[Any, Any]:
        end = len(row) - len(self._names)
        return self._key(row[end:]), self._shape(row[:end])

    def _key(self, values: Any) -> tuple[Any, ...]:
        return tuple(term.key(value) for term, value in zip(self._terms, values, strict=True))


def _ordering(query: Any, alias: str) -> list[Any]:
    """What the query is ordered by, as Django finds it: resolved OrderBy expressions."""
    compiler = query.get_compiler(using=alias)
    compiler.setup_query()
    found = []
    for order, _ in compiler._order_by_pairs():
        resolved: Any = order.resolve_expression(query, allow_joins=True, reuse=None)
        source: Any = resolved.expression
        if isinstance(source, Ref):
            resolved.set_source_expressions([source.source])  # type: ignore[attr-defined]
        found.append(resolved)
    if query.group_by is not None and compiler._meta_ordering:
        return []  # a model's own order does not hold for groups
    return found


def _add_key(query: Any, expressions: list[Any]) -> None:
    key = query.get_meta().pk.get_col(query.get_initial_alias())
    if not any(order.expression == key for order in expressions):
        expressions.append(OrderBy(key))


def _has_values_once(query: Any) -> bool:
    return bool(query.distinct and not query.default_cols)


def _nulls_first(order: Any, connection: BaseDatabaseWrapper) -> bool:
    if order.nulls_first or order.nulls_last:
        return bool(order.nulls_first)
    return bool(connection.features.order_by_nulls_first) != order.descending


def _shape(queryset: Any) -> Callable[[tuple[Any, ...]], Any]:
    """What makes of a tuple the row that the query promises."""
    query = queryset.query
    names = list(query.selected or ()) or [
        *(*query.extra_select, *query.values_select, *query.annotation_select)
    ]
    if queryset._iterable_class is ValuesIterable:
        return lambda row: dict(zip(names, row, strict=True))
    if queryset._iterable_class is NamedValuesListIterable:
        return create_namedtuple_class(*(queryset._fields or names))._make
    if queryset._iterable_class is FlatValuesListIterable:
        return itemgetter(0)
    return lambda row: row

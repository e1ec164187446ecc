"""A queryset's question as text, and the tables its answer is made of."""

from collections.abc import Callable
from typing import Any

from django.core.exceptions import EmptyResultSet, FullResultSet
from django.db.models.query import (
    FlatValuesListIterable,
    ModelIterable,
    ValuesIterable,
    ValuesListIterable,
)

from caching.places import Place
from caching.recording import MOST_SHAPES, RecordedQuerySet
from caching.shapes import NotUnderstood, plain, tables_in
from routers.replicas.reads import HomeRows

__all__ = ["FORMS", "AskedQuerySet"]

FORMS: dict[Any, str] = {
    ModelIterable: "instances",
    HomeRows: "instances",
    ValuesIterable: "dicts",
    ValuesListIterable: "tuples",
    FlatValuesListIterable: "values",
}
UNKNOWN: Any = object()

# (class, model, shape, kind) → tables that the query reads, or None where it cannot be kept.
_tables: dict[Any, frozenset[str] | None] = {}


class AskedQuerySet(RecordedQuerySet):
    """What it asks, and of which place."""

    def _tables(self, kind: str, asked: Callable[[], Any]) -> frozenset[str] | None:
        """The tables that the query reads, which is `asked()`; None: its answer cannot be kept."""
        shape = None if self._steps is None else (type(self), self.model, self._shape, kind)
        found = UNKNOWN if shape is None else _tables.get(shape, UNKNOWN)
        if found is UNKNOWN:
            try:
                found = self._watched(tables_in(asked()._sql()[0]))
            except (EmptyResultSet, FullResultSet):
                return None
            if shape is not None and len(_tables) < MOST_SHAPES:
                _tables[shape] = found
        return found

    def _watched(self, tables: frozenset[str] | None) -> frozenset[str] | None:
        """These tables, where every write to them is told to the place of the answer."""
        return tables if tables is not None and tables <= self._watched_tables() else None

    def _compiled_question(self) -> str | None:
        """The SQL as text, where the queryset was not told in steps."""
        query = self.query
        if query.select_for_update or query.combinator or query.extra_tables:
            return None
        if self._iterable_class not in FORMS:
            return None
        try:
            sql, params = self._sql()
            told = repr((sql, [plain(value) for value in params]))
        except (EmptyResultSet, FullResultSet, NotUnderstood):
            return None
        return f"{self._iterable_class.__name__} {self._fields} {told}"

    def _sql(self) -> tuple[str, Any]:
        compiler = self.query.get_compiler(using=self.db)
        return compiler.as_sql()

    def _scope_for_cache(self) -> Any:
        raise NotImplementedError

    def _watched_tables(self) -> frozenset[str]:
        raise NotImplementedError

    def _place(self, scope: Any, tables: frozenset[str]) -> Place:
        raise NotImplementedError

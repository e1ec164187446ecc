"""What is asked while a fragment is made must be something of whose writes the fragment is told.

That is its account, and the tables of the catalog that it names. SQL is seen where it is executed;
an answer of the cache, for which no SQL runs, says what it is of by `heed`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from django.db import connections

from caching.guard import Refuse
from caching.places import Place, of_account, shard_tables
from caching.shapes import tables_in
from caching.statements import is_read
from routers.conf import CATALOG
from routers.conf import settings as sharding
from routers.context import Scope, current_scope
from routers.ownership.guard import without_question

__all__ = ["heed", "watched"]


class _Making(NamedTuple):
    """A fragment: whose it is, the tables of the catalog that it follows, or that it needs none."""

    refuse: Refuse
    scope: Scope | None
    tables: frozenset[str]
    lasting: bool

    def tables_on(self, alias: str) -> frozenset[str]:
        """Of whose writes it is told."""
        if alias == CATALOG:
            return self.tables
        is_own = self.scope is not None and self.scope == current_scope()
        if is_own and sharding().primary_of(alias) == self.scope.alias():  # type: ignore[union-attr]
            return shard_tables()
        return frozenset()

    def is_told_of(self, place: Place) -> bool:
        """Whether what is kept for that place is the fragment's, too."""
        if self.lasting:
            return False
        if place.is_account:
            return self.scope is not None and place.slot == of_account(self.scope).slot
        return self.tables.issuperset(place.names)


_making: ContextVar[_Making | None] = ContextVar("caching_making", default=None)


@contextmanager
def watched(refuse: Refuse, tables: frozenset[str], *, lasting: bool) -> Iterator[None]:
    """Refuse whatever in this block has an answer that may change and leave the entry valid.

    `tables`: of the catalog, which the entry follows. A `lasting` one follows nothing.
    """

    making = _Making(refuse, current_scope(), tables, lasting)

    def execute(run: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        alias, asked = context["connection"].alias, without_question(str(sql))
        if lasting or not is_read(asked):
            refuse(f"SQL on {alias}: {asked[:80]}")
        found = tables_in(asked)
        if found is None or not found <= making.tables_on(alias):
            told = ", ".join(sorted(found or ())) or asked[:80]
            refuse(f"the table {told} on {alias}")
        return run(sql, params, many, context)

    # The first is the outermost; but a connection that is opened meanwhile puts its own before it.
    wrappers = [connections[alias].execute_wrappers for alias in connections]
    for some in wrappers:
        some.insert(0, execute)
    token = _making.set(making)
    try:
        yield
    finally:
        _making.reset(token)
        for some in wrappers:
            some.remove(execute)


def heed(place: Place) -> None:
    """Something kept for that place is asked for: it may be in a fragment, where no SQL tells."""
    making = _making.get()
    if making is not None and not making.is_told_of(place):
        told = place.slot if place.is_account else f"the tables {', '.join(place.names)}"
        making.refuse(f"what is kept of {told}")

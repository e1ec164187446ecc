"""What is asked while a fragment is made must be something of whose writes the fragment is told."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from django.db import connections

from caching.guard import Refuse
from caching.places import Place, shard_tables
from caching.shapes import tables_in
from caching.statements import is_read
from routers.conf import CATALOG

__all__ = ["heed", "watched"]


class _Making(NamedTuple):
    refuse: Refuse
    tables: frozenset[str]
    lasting: bool


_making: ContextVar[_Making | None] = ContextVar("caching_making", default=None)


@contextmanager
def watched(refuse: Refuse, tables: frozenset[str], *, lasting: bool) -> Iterator[None]:
    """Refuse whatever in this block has an answer that may change and leave the entry valid.

    `tables`: of the catalog, which the entry follows. A `lasting` one follows nothing.
    """

    def execute(run: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        alias = context["connection"].alias
        if lasting or not is_read(sql):
            refuse(f"SQL on {alias}: {str(sql)[:80]}")
        found = tables_in(sql)
        if found is None or not found <= (tables if alias == CATALOG else shard_tables()):
            told = ", ".join(sorted(found or ())) or str(sql)[:80]
            refuse(f"the table {told} on {alias}")
        return run(sql, params, many, context)

    # The first is the outermost: it sees a statement before others put theirs before it.
    wrappers = [connections[alias].execute_wrappers for alias in connections]
    for some in wrappers:
        some.insert(0, execute)
    token = _making.set(_Making(refuse, tables, lasting))
    try:
        yield
    finally:
        _making.reset(token)
        for some in wrappers:
            some.remove(execute)


def heed(place: Place) -> None:
    """Something kept for that place is asked for: it may be in a fragment, where no SQL tells."""
    making = _making.get()
    if making is None:
        return
    if making.lasting:
        making.refuse(f"what is kept of {place.slot}")
    if not place.is_account and not making.tables.issuperset(place.names):
        making.refuse(f"what is kept of the tables {', '.join(place.names)}")

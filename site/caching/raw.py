"""Raw queries on global and reference models: `Country.objects.raw(sql, params)`.

An account's rows are no matter of theirs: no account can be written into SQL for sure, so `routers`
refuses raw() inside one.
"""

import re
from functools import cache
from typing import Any

from django.apps import apps
from django.db.models.query import RawQuerySet

from caching.entries import Packing
from caching.options import CacheOptions
from caching.places import cached_tables, of_tables
from caching.remember import remember
from caching.rows import pack_rows, unpack_rows
from caching.shapes import NotUnderstood, plain, tables_in
from caching.statements import is_read
from routers.conf import CATALOG

__all__ = ["CachingRawQuerySet"]

TARGET = re.compile(r"\b(FROM|JOIN)\s+(?!SELECT\b)([a-z_][a-z0-9_]*)\b(?!\s*[.(])", re.I)
INNERMOST = re.compile(r"\([^()]*\)")
LISTED = re.compile(r"\bFROM\b(?:(?!\b(?:WHERE|GROUP|ORDER|HAVING|LIMIT|UNION)\b).)*,", re.I | re.S)
OBSCURE = re.compile(r"--|/\*|'|\$\$|;|\b(?:ONLY|LATERAL|WITH|TABLESAMPLE)\b", re.I)


class Rows(Packing):
    """Rows of one raw query."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def pack(self, answer: Any) -> Any:
        return pack_rows("instances", self.model, answer, frozenset())

    def unpack(self, packed: Any) -> Any:
        return unpack_rows(self.model, packed, CATALOG)


class CachingRawQuerySet(CacheOptions, RawQuerySet):
    """Django's, whose rows are kept where it is plain which tables they were read from."""

    # Django's own, which its types do not tell.
    _result_cache: Any
    _prefetch_related_lookups: Any

    def _fetch_all(self) -> None:
        if self._result_cache is None:
            question, tables = self._question(), tables_of(str(self.raw_query))
            if question is not None and tables is not None:
                self._result_cache = self._remembered(question, tables)
        super()._fetch_all()  # type: ignore[misc]

    def _remembered(self, question: str, tables: frozenset[str]) -> list[Any]:
        return remember(
            of_tables(tables),
            self.model._meta.label,
            f"raw {question}",
            self._life(),
            Rows(self.model),
            lambda: list(self.iterator()),
            policy=self._policy,
        )

    def _question(self) -> str | None:
        """All that decides on the rows, as text; None where they are not to be kept."""
        is_ours = self._db in (None, CATALOG)  # type: ignore[attr-defined]
        if self._is_uncached or not is_ours:
            return None
        params: Any = self.params or ()
        given = sorted(params.items()) if isinstance(params, dict) else list(params)
        names = sorted(self.translations.items())
        try:
            return repr((str(self.raw_query), plain(given), plain(names)))
        except NotUnderstood:
            return None


@cache
def _all_tables() -> frozenset[str]:
    models = apps.get_models(include_auto_created=True)
    return frozenset(model._meta.db_table for model in models)


def tables_of(sql: str) -> frozenset[str] | None:
    """The tables that a SELECT reads, where all are cached and nothing else is in it; else None.

    A table that is only mentioned counts as read. Text that may hide one is not understood.
    """
    if not is_read(sql) or OBSCURE.search(sql) or _lists_tables(sql):
        return None
    found = tables_in(TARGET.sub(r'\1 "\2"', sql))
    if found is None:
        return None
    words = set(re.findall(r"\w+", sql))
    tables = found | (_all_tables() & words)
    return tables if tables <= cached_tables() else None


def _lists_tables(sql: str) -> bool:
    """Whether tables are listed, FROM a AS x, b, at any depth of parentheses."""
    while inner := INNERMOST.search(sql):
        if LISTED.search(inner[0]):
            return True
        sql = sql[: inner.start()] + " " + sql[inner.end() :]
    return bool(LISTED.search(sql))

"""How a queryset's rows, counts and single rows come from the cache, whatever kind its model is."""

from collections.abc import Callable
from functools import partial
from typing import Any

from caching import aggregates
from caching.entries import Packing
from caching.options import CacheOptions
from caching.plainness import VALUES
from caching.questions import FORMS, AskedQuerySet
from caching.remember import remember
from caching.rows import pack_rows, unpack_rows
from caching.shapes import NotUnderstood
from routers.conf import settings as sharding
from routers.replicas.unit import primary_only

__all__ = ["CachedReads"]

PLAIN = Packing()


class Rows(Packing):
    """Rows of one queryset."""

    def __init__(self, queryset: Any, alias: str) -> None:
        self.queryset, self.alias = queryset, alias

    def pack(self, answer: Any) -> Any:
        known = frozenset(field.name for field in self.queryset._known_related_objects)
        return pack_rows(self.queryset._form, self.queryset.model, answer, known)

    def unpack(self, packed: Any) -> Any:
        rows = unpack_rows(self.queryset.model, packed, self.alias)
        if self.queryset._known_related_objects:
            self.queryset._relate_known(rows)
        return rows


class CachedReads(CacheOptions, AskedQuerySet):
    """What the three kinds of queryset have in common."""

    _form = ""  # of the rows that were asked of the database: one of FORMS
    _for_relations = False  # of a base manager, by which Django also refreshes and deletes rows

    def get(self, *args: Any, **kwargs: Any) -> Any:
        if self._steps is None or self._result_cache is not None:
            return super().get(*args, **kwargs)
        asked = self.filter(*args, **kwargs) if args or kwargs else self
        rows = asked._remembered("get", asked._one)
        if rows is NotImplemented:
            return super().get(*args, **kwargs)
        if not rows:
            name = self.model._meta.object_name
            raise self.model.DoesNotExist(f"{name} matching query does not exist.")
        return rows[0]

    def count(self) -> int:
        if self._result_cache is None:
            number = self._remembered("count", lambda plain: plain.count())
            if number is not NotImplemented:
                return int(number)
        return super().count()

    def exists(self) -> bool:
        if self._result_cache is None:
            found = self._remembered("exists", lambda plain: plain.exists())
            if found is not NotImplemented:
                return bool(found)
        return super().exists()

    def aggregate(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        try:
            wanted = aggregates.named(args, kwargs)
            kind = f"aggregate {aggregates.told(wanted)}"
        except NotUnderstood:
            return super().aggregate(*args, **kwargs)
        found = self._remembered(
            kind,
            lambda plain: plain.aggregate(**wanted),
            lambda: self.no_cache().annotate(
                **{f"aggregate_{number}": one for number, one in enumerate(wanted.values())}
            ),
        )
        return super().aggregate(**wanted) if found is NotImplemented else found

    def _fetch_all(self) -> None:
        if self._result_cache is None:
            rows = self._remembered("rows", lambda plain: list(plain))
            if rows is not NotImplemented:
                self._result_cache = rows
        super()._fetch_all()

    def _clone(self) -> Any:
        clone = super()._clone()
        clone._for_relations = self._for_relations
        return clone

    @staticmethod
    def _one(plain_queryset: Any) -> list[Any]:
        """Its row in a list, empty where there is none. Raises MultipleObjectsReturned."""
        try:
            return [plain_queryset.get()]
        except plain_queryset.model.DoesNotExist:
            return []

    def _remembered(
        self, kind: str, ask: Callable[[Any], Any], asked: Callable[[], Any] | None = None
    ) -> Any:
        """What `ask` makes of this queryset; NotImplemented where the cache has no part in it.

        `asked()`: the queryset whose SQL names the tables, where that is not this one's.
        """
        if self._is_uncached or self._for_write:
            return NotImplemented
        if self._for_relations and self._is_djangos_own():
            return NotImplemented
        scope = self._scope_for_cache()
        if scope is None:
            return NotImplemented
        question = self._question() or self._compiled_question()
        if question is None:
            return NotImplemented
        tables = self._tables(kind, asked or self._clone)
        if tables is None:
            return NotImplemented
        place = self._place(scope, tables)
        return remember(
            place,
            self.model._meta.label,
            f"{kind} {question}",
            self._life(),
            self._packing(kind, place.alias),
            partial(self._ask, ask),
            partial(self._ask_primary, ask),
            self._policy,
        )

    def _packing(self, kind: str, alias: str) -> Packing:
        if kind in ("count", "exists"):
            return PLAIN
        return Rows(self, alias) if kind in ("get", "rows") else VALUES

    def _is_djangos_own(self) -> bool:
        """Whether Django looks after a row by it, and not after a relation.

        save(), delete() and the like name the database. refresh_from_db() asks for the row's own
        key, by that name: what says "from db" is not answered by a cache.
        """
        if self._db is not None:
            return True
        if not isinstance(self._hints.get("instance"), self.model):
            return False
        return not self._steps or dict(self._steps[0][2]).keys() == {"pk"}

    def _ask(self, ask: Callable[[Any], Any], using: str | None = None) -> Any:
        plain_queryset = self.no_cache()
        plain_queryset._db = using or self._db
        plain_queryset._prefetch_related_lookups = ()
        answer = ask(plain_queryset)
        self._form = FORMS.get(plain_queryset._iterable_class, "")
        return answer

    def _ask_primary(self, ask: Callable[[Any], Any]) -> Any:
        """Of a database that has every commit: an answer that is kept may not be an old one."""
        if not sharding().recorded:
            return self._ask(ask)
        with primary_only():
            return self._ask(ask)

    def _relate_known(self, rows: list[Any]) -> None:
        """As ModelIterable does for what a related manager knows."""
        for field, known in self._known_related_objects.items():
            for row in rows:
                other = known.get(getattr(row, field.attname))
                if other is not None and not field.is_cached(row):
                    setattr(row, field.name, other)

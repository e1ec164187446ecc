"""The querysets of cached models, one for each kind of model."""

from collections.abc import Callable
from typing import Any

from django.db.models.sql import Query

from caching.places import Place, cached_tables, of_account, of_tables, shard_tables
from caching.raw import CachingRawQuerySet
from caching.reads import CachedReads
from routers.conf import CATALOG
from routers.conf import settings as sharding
from routers.context import Scope, current_scope
from routers.guards import refuse_foreign_instance
from routers.managers import AccountQuerySet
from routers.query import AccountQuery, JoinedQuery
from routers.reference.query import ReferenceQuerySet
from routers.replicas.reads import HomeRows

__all__ = ["CachingAccountQuerySet", "CachingQuerySet", "CachingReferenceQuerySet"]


class CachingAccountQuerySet(CachedReads, AccountQuerySet[Any]):  # type: ignore[override]
    """Rows of one account. Without an account, or with another one, there is no cache."""

    _told_scope: Scope | None = None

    def __init__(
        self, model: Any = None, query: Any = None, using: Any = None, hints: Any = None
    ) -> None:
        if model is None:  # deepcopy() fills it in
            self._begin(model, using, hints)
            return
        scope = current_scope() if query is None else None
        if scope is None or scope.account_id is None:
            super().__init__(model, query, using, hints)
            return
        if hints:
            refuse_foreign_instance(scope, hints.get("instance"))
        self._begin(model, using, hints)
        self._told_scope = scope
        if sharding().recorded:
            self._made_by = HomeRows
        if using is not None:
            self._check_alias(using)

    @property
    def _begun(self) -> Scope | None:
        return self._told_scope if self._steps is not None else self._built.scope

    def _empty(self) -> Any:
        query = AccountQuery(self.model)
        query.bind(self._told_scope)  # type: ignore[arg-type]
        empty = type(self)(self.model, query, self._db, self._hints)
        empty._made_by = self._made_by
        return empty

    def _scope_for_cache(self) -> Scope | None:
        """The account's; AccountNotSet and CrossAccount are left to the query itself."""
        begun, now = self._begun, current_scope()
        if begun is None or begun.account_id is None or now not in (None, begun):
            return None
        return begun if self._db is None or self._db == begun.alias() else None

    def _watched_tables(self) -> frozenset[str]:
        """Not those of reference models: here they are a copy, which has writes of its own."""
        return shard_tables()

    def _place(self, scope: Scope, tables: frozenset[str]) -> Place:
        return of_account(scope)


class CachingQuerySet(CachedReads):
    """Rows of a global model."""

    def __init__(
        self, model: Any = None, query: Any = None, using: Any = None, hints: Any = None
    ) -> None:
        if query is None:
            self._begin(model, using, hints)
        else:
            super().__init__(model, query, using, hints)

    def _empty(self) -> Any:
        return type(self)(self.model, self._query_of_its_own(), self._db, self._hints)

    def raw(
        self, raw_query: Any, params: Any = (), translations: Any = None, using: Any = None
    ) -> Any:
        made: Any = super().raw(raw_query, params, translations, using)
        if made.db != CATALOG:  # a copy of a reference table, read beside an account
            return made
        found = CachingRawQuerySet(raw_query, self.model, None, params, translations, made._db)
        found._prefetch_related_lookups = made._prefetch_related_lookups
        found._seconds, found._policy = self._seconds, self._policy
        return found

    def _query_of_its_own(self) -> Any:
        return Query(self.model)

    def _scope_for_cache(self) -> Any:
        return CATALOG if self._db in (None, CATALOG) else None

    def _watched_tables(self) -> frozenset[str]:
        return cached_tables()

    def _place(self, scope: Any, tables: frozenset[str]) -> Place:
        return of_tables(tables)


class CachingReferenceQuerySet(CachingQuerySet, ReferenceQuerySet[Any]):  # type: ignore[override]
    """Rows of a reference model. What is kept was read in the catalog, not from a copy."""

    def _query_of_its_own(self) -> Any:
        return JoinedQuery(self.model)

    def _ask_primary(self, ask: Callable[[Any], Any]) -> Any:
        return self._ask(ask, CATALOG)

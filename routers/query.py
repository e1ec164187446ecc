"""Queries that stay inside their account.

A query is bound to the scope in force when it is begun, and carries it along: it is filtered by
account from the start, its joins stay within the account, and it can be neither combined with a
query of another scope nor run inside one. A query begun outside any scope (a form's or a view's
class attribute) is bound when it is used further, as `queryset.all()`, inside one; to run it
before that raises.
"""

import re
from collections.abc import Iterable
from typing import Any, NoReturn, TypeVar

from django.db import models
from django.db.models.expressions import ResolvedOuterRef
from django.db.models.lookups import Exact
from django.db.models.sql import Query
from django.db.models.sql.datastructures import Join
from django.db.models.sql.where import AND

from routers.conf import settings
from routers.context import Scope, current_scope
from routers.exceptions import AccountNotSet, CrossAccount
from routers.guards import (
    refuse_cross_account,
    refuse_elsewhere,
    refuse_foreign_instance,
    required_scope,
    stamp,
    translated,
)
from routers.placement import is_sharded
from routers.replicas.reads import HomeRows, ReplicaReads, placed
from routers.replicas.units import wrote

__all__ = ["AccountManager", "AccountQuery", "AccountQuerySet"]

M = TypeVar("M", bound=models.Model)
COLUMN = re.compile(r'"?\w+"?\."?\w+"?')


class AccountJoin(Join):
    """A join that, between two sharded tables, also says that both rows are of one account."""

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        sql, params = super().as_sql(compiler, connection)
        field: Any = getattr(self.join_field, "field", self.join_field)
        if not (is_sharded(field.model) and is_sharded(field.related_model)):
            return sql, params
        quote, column = compiler.quote_name_unless_alias, connection.ops.quote_name("account_id")
        same = f"{quote(self.table_alias)}.{column} = {quote(self.parent_alias)}.{column}"
        return f"{sql.removesuffix(')')} AND {same})", params


class AccountQuery(Query):
    """The SQL of one scope. `scope` is None until the query is bound."""

    join_class = AccountJoin
    scope: Scope | None = None
    tied = False  # to the account of the row outside, as the subquery of an exclude() is

    def bind(self, scope: Scope) -> None:
        """Make it a query of that scope."""
        self.scope = scope
        if scope.account_id is not None and not self.tied:
            self.where.add(_belongs_to(self.model, self.get_initial_alias(), scope.account_id), AND)
        if self.combinator:
            self.combined_queries = tuple(_bound(query, scope) for query in self.combined_queries)

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        """As a part of another query. Raises CrossAccount where that is of another scope."""
        outer = getattr(compiler.query, "scope", None) or current_scope()
        if self.scope is not None and self.scope != outer:
            raise CrossAccount(_not_combined(self.model, self.scope, outer))
        return Query.as_sql(_bound(self, outer), compiler, connection)

    def trim_start(self, names_with_path: Any) -> tuple[str, bool]:
        """Ties the subquery of an `exclude` over a to-many relation to the account outside it."""
        prefix, has_outer_join = super().trim_start(names_with_path)
        start: Any = self.select[0]
        if is_sharded(start.target.model):
            path = prefix.rpartition("__")[0]
            outer = ResolvedOuterRef(f"{path}__account_id" if path else "account_id")
            self.where.add(_belongs_to(start.target.model, start.alias, outer), AND)
            self.tied = True
        return prefix, has_outer_join


class Belongs(Exact):
    """account_id = 7, which is part of every query: made and written without Django's detours."""

    contains_aggregate = False
    contains_over_clause = False

    def __init__(self, column: Any, account: Any) -> None:
        self.lhs, self.rhs, self.bilateral_transforms = column, account, []

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        if not isinstance(self.rhs, int):  # a column of the query outside
            return super().as_sql(compiler, connection)
        return f'{compiler.quote_name_unless_alias(self.lhs.alias)}."account_id" = %s', [self.rhs]


def _belongs_to(model: Any, alias: str | None, account: Any) -> Belongs:
    field: Any = model._meta.get_field("account_id")
    return Belongs(field.get_col(alias), account)


def _bound(query: Query, scope: Scope | None) -> Query:
    """The query itself, or where it is not bound yet, one that is."""
    if scope is None or not isinstance(query, AccountQuery) or query.scope is not None:
        return query
    clone: AccountQuery = query.clone()  # type: ignore[assignment]
    clone.bind(scope)
    return clone


def _not_combined(model: Any, one: Scope | None, other: Scope | None) -> str:
    return f"{model._meta.label}: queries begun for {one} and for {other} cannot be combined."


class AccountQuerySet(ReplicaReads[M]):
    """Rows of one account. Its methods are Django's; what leads out of the account raises."""

    def __init__(
        self, model: Any = None, query: Any = None, using: Any = None, hints: Any = None
    ) -> None:
        fresh = query is None
        super().__init__(model, AccountQuery(model) if fresh else query, using, hints)
        if fresh:
            if settings().recorded:
                self._iterable_class = HomeRows
            if using is not None:
                self._check_alias(using)
            if (scope := current_scope()) is not None:
                self._bind(scope)

    @property
    def db(self) -> str:
        """The database on which the query runs. Raises AccountNotSet and CrossAccount."""
        begun, now = self._begun, current_scope()
        if begun is None:
            raise AccountNotSet(self.model._meta.label)
        if now is not None and now != begun:
            self._refuse(
                f"the query was begun for {begun} and is run while {now} is set. Begin it inside "
                f"the `with` block where it is run."
            )
        alias: str = self._db or begun.alias()  # type: ignore[attr-defined]
        return placed(self, begun.account_id, alias) if settings().recorded else alias

    def using(self, alias: str | None) -> "AccountQuerySet[M]":
        if alias is not None:
            self._check_alias(alias)
        return super().using(alias)

    def bulk_create(self, objs: Iterable[M], *args: Any, **kwargs: Any) -> list[M]:
        rows = list(objs)
        for row in rows:
            stamp(row)
        if kwargs.get("update_conflicts"):
            self._refuse_foreign_conflicts(kwargs)
        self._writes()  # Django asks for a database first, as if to read
        return super().bulk_create(rows, *args, **kwargs)

    def bulk_update(
        self, objs: Iterable[M], fields: Iterable[str], batch_size: int | None = None
    ) -> int:
        rows = list(objs)
        for row in rows:
            stamp(row)
        return super().bulk_update(rows, fields, batch_size)

    def update(self, **values: Any) -> int:
        for value in values.values():
            if isinstance(value, models.Model):
                refuse_cross_account(self.model(account_id=self._account()), value)
        with translated(self.model):
            return super().update(**values)

    update.alters_data = True  # type: ignore[attr-defined]

    def raw(self, *args: Any, **kwargs: Any) -> Any:
        """Nothing can filter SQL by account, so it needs a scope that says so."""
        self._refuse_own_sql("raw()")
        return super().raw(*args, **kwargs)

    def extra(self, select: Any = None, *args: Any, **kwargs: Any) -> Any:
        """As `raw`, but for plain columns, which Django's own prefetch selects."""
        columns = [sql for sql in (select or {}).values() if COLUMN.fullmatch(sql)]
        if args or kwargs or len(columns) != len(select or {}):
            self._refuse_own_sql("extra()")
        return super().extra(select, *args, **kwargs)  # noqa: S610 - plain columns, or all_accounts

    # Django's own hooks, through which every write and every combination passes.

    def _insert(self, objs: Any, *args: Any, **kwargs: Any) -> Any:
        for row in objs:
            stamp(row, kwargs.get("using"))
        self._writes()
        with translated(self.model):
            return super()._insert(objs, *args, **kwargs)  # type: ignore[misc]

    def _update(self, values: Any) -> int:
        self._writes()
        with translated(self.model):
            return super()._update(values)  # type: ignore[misc]

    def _raw_delete(self, using: str | None) -> Any:
        self._check_alias(str(using))
        if self._begun is None:
            raise AccountNotSet(self.model._meta.label)
        self._writes()
        return super()._raw_delete(using)

    def _clone(self) -> Any:
        clone = super()._clone()  # type: ignore[misc]
        if clone._begun is None and (scope := current_scope()) is not None:
            clone._bind(scope)
        return clone

    def _add_hints(self, **hints: Any) -> None:
        super()._add_hints(**hints)  # type: ignore[misc]
        if self._begun is not None:
            refuse_foreign_instance(self._begun, hints)

    def _merge_sanity_check(self, other: Any) -> None:
        self._refuse_other_scope(other)
        super()._merge_sanity_check(other)  # type: ignore[misc]

    def _combinator_query(self, combinator: str, *others: Any, all: bool = False) -> Any:
        for other in others:
            self._refuse_other_scope(other)
        return super()._combinator_query(combinator, *others, all=all)  # type: ignore[misc]

    @property
    def _begun(self) -> Scope | None:
        """The scope in which the query was begun."""
        return self._query.scope  # type: ignore[attr-defined]

    def _bind(self, scope: Scope) -> None:
        if self._hints:  # type: ignore[attr-defined]
            refuse_foreign_instance(scope, self._hints)  # type: ignore[attr-defined]
        self._query.bind(scope)  # type: ignore[attr-defined]

    def _writes(self) -> None:
        if settings().recorded:
            scope = required_scope(self.model)
            wrote(scope.alias(), scope.account_id)

    def _account(self) -> int | None:
        return self._begun.account_id if self._begun else None

    def _check_alias(self, alias: str) -> None:
        refuse_elsewhere(self.model._meta.label, alias, required_scope(self.model).alias())

    def _refuse_own_sql(self, what: str) -> None:
        if required_scope(self.model).account_id is not None:
            self._refuse(
                f"{what} cannot be filtered by account. Use the ORM, or write the account into the "
                f'SQL and run it inside `with all_accounts("shard01"):`.'
            )

    def _refuse_foreign_conflicts(self, options: dict[str, Any]) -> None:
        """An upsert must never reach a row of another account by its key alone."""
        unique, updated = options.get("unique_fields") or [], options.get("update_fields") or []
        if "account_id" not in unique or "account_id" in updated:
            self._refuse(
                "an upsert needs account_id in unique_fields, and not in update_fields: "
                'unique_fields=["account_id", "id"].'
            )

    def _refuse_other_scope(self, other: Any) -> None:
        if isinstance(other, AccountQuerySet) and self._begun != other._begun:
            raise CrossAccount(_not_combined(self.model, self._begun, other._begun))

    def _refuse(self, message: str) -> NoReturn:
        raise CrossAccount(f"{self.model._meta.label}: {message}")


class AccountManager(models.Manager.from_queryset(AccountQuerySet)):  # type: ignore[misc]
    """The manager of every sharded model."""

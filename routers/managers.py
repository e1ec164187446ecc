"""Managers and querysets that stay inside their account.

A query is bound to the scope in force when it is begun. One begun outside any scope (a form's or a
view's class attribute) is bound by whatever makes another of it inside one, as `queryset.all()`; to
run it itself raises.
"""

import re
from collections.abc import Collection, Iterable
from typing import Any, NoReturn, TypeVar

from django.db import models

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
from routers.query import AccountQuery, refuse_other_scope
from routers.replicas.reads import HomeRows, ReplicaReads, placed
from routers.replicas.units import wrote

__all__ = ["AccountManager", "AccountQuerySet"]

M = TypeVar("M", bound=models.Model)
COLUMN = re.compile(r'"?\w+"?\."?\w+"?')


class AccountQuerySet(ReplicaReads[M]):
    """Rows of one account. Its methods are Django's; what leads out of the account raises."""

    def __init__(
        self, model: Any = None, query: Any = None, using: Any = None, hints: Any = None
    ) -> None:
        fresh = query is None
        super().__init__(model, AccountQuery(model) if fresh else query, using, hints)
        if fresh and model is not None:  # deepcopy() fills in both afterwards
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
        refuse_other_scope(self.model, begun, now or begun)
        alias: str = self._db or begun.alias()  # type: ignore[attr-defined]
        return placed(self, begun.account_id, alias) if settings().recorded else alias

    def using(self, alias: str | None) -> "AccountQuerySet[M]":
        if alias is not None:
            self._check_alias(alias)
        return super().using(alias)

    def only(self, *fields: Any) -> Any:
        """account_id as well: a row that does not know its account could not be stored."""
        return super().only(*fields, *([] if fields == (None,) else ["account_id"]))

    def bulk_create(
        self,
        objs: Iterable[M],
        batch_size: int | None = None,
        ignore_conflicts: bool = False,
        update_conflicts: bool = False,
        update_fields: Collection[str] | None = None,
        unique_fields: Collection[str] | None = None,
    ) -> list[M]:
        rows = list(objs)
        for row in rows:
            stamp(row)
        if update_conflicts:
            self._refuse_foreign_conflicts(update_fields or (), unique_fields or ())
        self._writes()  # Django asks for a database first, as if to read
        return super().bulk_create(
            rows, batch_size, ignore_conflicts, update_conflicts, update_fields, unique_fields
        )

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

    def __and__(self, other: Any) -> Any:
        return models.QuerySet.__and__(_begun_here(self), _begun_here(other))

    def __or__(self, other: Any) -> Any:
        return models.QuerySet.__or__(_begun_here(self), _begun_here(other))

    def __xor__(self, other: Any) -> Any:
        return models.QuerySet.__xor__(_begun_here(self), _begun_here(other))

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
            refuse_foreign_instance(self._begun, hints.get("instance"))

    def _merge_sanity_check(self, other: Any) -> None:
        self._refuse_other_scope(other)
        super()._merge_sanity_check(other)  # type: ignore[misc]

    def _combinator_query(self, combinator: str, *others: Any, all: bool = False) -> Any:
        mine, *theirs = map(_begun_here, (self, *others))
        for other in theirs:
            mine._refuse_other_scope(other)
        combined: Any = super(AccountQuerySet, mine)
        return combined._combinator_query(combinator, *theirs, all=all)

    @property
    def _begun(self) -> Scope | None:
        """The scope in which the query was begun."""
        return self._query.scope  # type: ignore[attr-defined]

    def _bind(self, scope: Scope) -> None:
        if self._hints:  # type: ignore[attr-defined]
            refuse_foreign_instance(scope, self._hints.get("instance"))  # type: ignore[attr-defined]
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

    def _refuse_foreign_conflicts(self, updated: Collection[str], unique: Collection[str]) -> None:
        """An upsert must never reach a row of another account by its key alone."""
        if "account_id" not in unique or "account_id" in updated:
            self._refuse(
                "an upsert needs account_id in unique_fields, and not in update_fields: "
                'unique_fields=["account_id", "id"].'
            )

    def _refuse_other_scope(self, other: Any) -> None:
        if isinstance(other, AccountQuerySet):
            refuse_other_scope(self.model, self._begun, other._begun)

    def _refuse(self, message: str) -> NoReturn:
        raise CrossAccount(f"{self.model._meta.label}: {message}")


class AccountManager(models.Manager.from_queryset(AccountQuerySet)):  # type: ignore[misc]
    """The manager of every sharded model."""


def _begun_here(queryset: Any) -> Any:
    """One begun outside any scope, bound to the scope in force; any other as it is."""
    unbound = isinstance(queryset, AccountQuerySet) and queryset._begun is None
    return queryset._chain() if unbound else queryset

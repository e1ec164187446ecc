"""The manager that keeps every query inside its account."""

from collections.abc import Iterable
from typing import Any, NoReturn, TypeVar

from django.db import models

from routers.context import Scope, current_scope
from routers.exceptions import AccountNotSet, CrossAccount, RoutingError
from routers.shard_map import shard_of

__all__ = ["AccountManager", "AccountQuerySet", "own", "required_scope", "stamp"]

M = TypeVar("M", bound=models.Model)


def required_scope(model: type[models.Model]) -> Scope:
    """The scope in force. Raises AccountNotSet, naming the model."""
    scope = current_scope()
    if scope is None:
        raise AccountNotSet(model._meta.label)
    return scope


def stamp(instance: Any, using: str | None = None) -> None:
    """Make a row ready for storing: a new one gets the account in force.

    Raises AccountNotSet, CrossAccount for a row or a related row of another account, and
    RoutingError for a database that is not the account's.
    """
    scope = required_scope(type(instance))
    if instance.account_id is None:
        instance.account_id = scope.account_id
    own(instance, using)
    for related in _loaded_relations(instance):
        refuse_cross_account(instance, related)


def own(instance: Any, using: str | None = None) -> None:
    """Refuse a row that does not belong to the scope in force; raises as `stamp` does."""
    scope, label = required_scope(type(instance)), instance._meta.label
    if instance.account_id is None:
        raise AccountNotSet(label)
    if scope.account_id is not None and instance.account_id != scope.account_id:
        raise CrossAccount(
            f"{label} {instance.pk} belongs to account {instance.account_id}, but account "
            f"{scope.account_id} is set. Do this inside "
            f"`with account_context({instance.account_id}):`."
        )
    home = shard_of(instance.account_id)
    refuse_elsewhere(label, using or scope.alias(), home)
    refuse_elsewhere(label, scope.alias(), home)


def refuse_elsewhere(label: str, alias: str, home: str) -> None:
    """Raise RoutingError where rows would be sought or stored on a shard that is not theirs."""
    if alias != home:
        raise RoutingError(
            f"{label}: {alias} was named, but the account's rows are on {home}. Leave out "
            f"`using`; for another shard, `with all_accounts({alias!r}):`."
        )


def _loaded_relations(instance: models.Model) -> Iterable[models.Model]:
    for field in instance._meta.concrete_fields:
        if isinstance(field, models.ForeignKey) and field.is_cached(instance):
            related = field.get_cached_value(instance)
            if related is not None:
                yield related


def refuse_cross_account(one: models.Model, other: models.Model) -> None:
    """Raise CrossAccount where two sharded rows belong to different accounts."""
    mine, theirs = _account_of(one), _account_of(other)
    if mine is not None and theirs is not None and mine != theirs:
        raise CrossAccount(
            f"{one._meta.label} of account {mine} cannot refer to {other._meta.label} "
            f"{other.pk} of account {theirs}. Relate rows of one account only."
        )


def _account_of(row: models.Model) -> int | None:
    from routers.models import ShardedModel

    return row.account_id if isinstance(row, ShardedModel) else None


class AccountQuerySet(models.QuerySet[M]):
    """Rows of one account. Bound to the scope in force when the query is begun."""

    def using(self, alias: str | None) -> "AccountQuerySet[M]":
        if alias is not None:
            scope = required_scope(self.model)
            refuse_elsewhere(self.model._meta.label, alias, scope.alias())
        return super().using(alias)

    def bulk_create(self, objs: Iterable[M], *args: Any, **kwargs: Any) -> list[M]:
        rows = list(objs)
        for row in rows:
            stamp(row)
        if kwargs.get("update_conflicts"):
            self._refuse_foreign_conflicts(kwargs)
        return super().bulk_create(rows, *args, **kwargs)

    def bulk_update(
        self, objs: Iterable[M], fields: Iterable[str], batch_size: int | None = None
    ) -> int:
        rows = list(objs)
        for row in rows:
            stamp(row)
        return super().bulk_update(rows, fields, batch_size)

    def update(self, **values: Any) -> int:
        if "account_id" in values:
            raise CrossAccount(
                f"{self.model._meta.label}: a row's account_id never changes by update()."
            )
        for value in values.values():
            if isinstance(value, models.Model):
                refuse_cross_account(self.model(account_id=self._begun().account_id), value)
        return super().update(**values)

    update.alters_data = True  # type: ignore[attr-defined]

    def raw(self, *args: Any, **kwargs: Any) -> Any:
        """Nothing can filter SQL by account, so it needs a scope that says so."""
        if required_scope(self.model).account_id is not None:
            self._refuse(
                "raw() cannot be filtered by account. Use the ORM, or write the account into the "
                'SQL and run it inside `with all_accounts("shard01"):`.'
            )
        return super().raw(*args, **kwargs)

    def _refuse_foreign_conflicts(self, options: dict[str, Any]) -> None:
        """An upsert must never reach a row of another account by its key alone."""
        unique, updated = options.get("unique_fields") or [], options.get("update_fields") or []
        if "account_id" not in unique or "account_id" in updated:
            self._refuse(
                "an upsert needs account_id in unique_fields, and not in update_fields: "
                'unique_fields=["account_id", "id"].'
            )

    def _refuse(self, message: str) -> NoReturn:
        raise CrossAccount(f"{self.model._meta.label}: {message}")

    # Django's own hooks for `|`, `&`, union() and the like.
    def _merge_sanity_check(self, other: Any) -> None:
        self._refuse_other_scope(other)
        super()._merge_sanity_check(other)  # type: ignore[misc]

    def _combinator_query(self, combinator: str, *others: Any, all: bool = False) -> Any:
        for other in others:
            self._refuse_other_scope(other)
        return super()._combinator_query(combinator, *others, all=all)  # type: ignore[misc]

    def _refuse_other_scope(self, other: Any) -> None:
        if isinstance(other, AccountQuerySet) and self._begun() != other._begun():
            mine, theirs = self._begun(), other._begun()
            self._refuse(f"queries begun for {mine} and for {theirs} cannot be combined.")

    def _begun(self) -> Scope:
        """The scope in which the query was begun."""
        return Scope.begun(self._hints)  # type: ignore[attr-defined]


class AccountManager(models.Manager.from_queryset(AccountQuerySet)):  # type: ignore[misc]
    """The manager of every sharded model: filters by the account in force, or raises.

    The scope travels on in the query's hints, so that the router sends it to the right shard even
    when it is evaluated later, and refuses it inside another account.
    """

    def get_queryset(self) -> AccountQuerySet[Any]:
        scope = required_scope(self.model)
        if self._db is not None:
            refuse_elsewhere(self.model._meta.label, self._db, scope.alias())
        rows: AccountQuerySet[Any] = super().get_queryset()
        rows._add_hints(account_id=scope.account_id, shard=scope.shard)  # type: ignore[attr-defined]
        return rows if scope.account_id is None else rows.filter(account_id=scope.account_id)

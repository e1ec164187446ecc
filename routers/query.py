"""The manager that keeps every query inside its account."""

from collections.abc import Iterable
from typing import Any, TypeVar

from django.db import models

from routers.context import Scope, current_scope
from routers.exceptions import AccountNotSet, CrossAccount

__all__ = ["AccountManager", "AccountQuerySet", "required_scope", "stamp"]

M = TypeVar("M", bound=models.Model)


def required_scope(model: type[models.Model]) -> Scope:
    """The scope in force. Raises AccountNotSet, naming the model."""
    scope = current_scope()
    if scope is None:
        raise AccountNotSet(model._meta.label)
    return scope


def stamp(instance: Any) -> None:
    """Give a new row the account in force; refuse a row, or a related row, of another account.

    Raises AccountNotSet or CrossAccount.
    """
    scope = required_scope(type(instance))
    if instance.account_id is None:
        if scope.account_id is None:
            raise AccountNotSet(instance._meta.label)
        instance.account_id = scope.account_id
    elif scope.account_id is not None and instance.account_id != scope.account_id:
        raise CrossAccount(
            f"{instance._meta.label} {instance.pk} belongs to account {instance.account_id}, but "
            f"account {scope.account_id} is set. Save it inside "
            f"`with account_context({instance.account_id}):`."
        )
    for related in _loaded_relations(instance):
        refuse_cross_account(instance, related)


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
    """Rows of one account. Bound to the account in force when the query is begun."""

    def bulk_create(self, objs: Iterable[M], *args: Any, **kwargs: Any) -> list[M]:
        rows = list(objs)
        for row in rows:
            stamp(row)
        return super().bulk_create(rows, *args, **kwargs)

    def update(self, **values: Any) -> int:
        if "account_id" in values:
            raise CrossAccount(
                f"{self.model._meta.label}: a row's account_id never changes by update()."
            )
        return super().update(**values)

    update.alters_data = True  # type: ignore[attr-defined]


class AccountManager(models.Manager.from_queryset(AccountQuerySet)):  # type: ignore[misc]
    """The manager of every sharded model: filters by the account in force, or raises.

    The account travels on in the query's hints, so that the router sends it to the right shard
    even when it is evaluated later, and refuses it inside another account.
    """

    def get_queryset(self) -> AccountQuerySet[Any]:
        scope = required_scope(self.model)
        rows: AccountQuerySet[Any] = super().get_queryset()
        if scope.account_id is None:
            return rows
        rows._add_hints(account_id=scope.account_id)  # type: ignore[attr-defined]
        return rows.filter(account_id=scope.account_id)

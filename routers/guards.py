"""Refusals: what keeps the work of one account away from the rows of another."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import IntegrityError, models

from routers.conf import settings
from routers.context import Scope, current_account, current_scope
from routers.exceptions import AccountNotSet, CrossAccount, ForeignLink, RoutingError
from routers.placement import is_sharded
from routers.shard_map import shard_of

__all__ = [
    "LINK_REFUSED",
    "own",
    "refuse_cross_account",
    "refuse_elsewhere",
    "refuse_foreign_instance",
    "required_scope",
    "stamp",
    "translated",
]

# How the message of the database's own guard begins: see routers.triggers.
LINK_REFUSED = "another account:"


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
    for field in instance._meta.concrete_fields:
        related = instance._state.fields_cache.get(field.name) if field.is_relation else None
        if related is not None:
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
    for alias in {using or scope.alias(), scope.alias()}:
        refuse_elsewhere(label, alias, home)
    read_from = instance._state.db
    if not instance._state.adding and settings().primary_of(read_from) != home:
        raise CrossAccount(
            f"{label} {instance.pk} was read from {read_from}, and account {instance.account_id} "
            f"lives on {home}. Its account_id was changed, or it moved: read the row again."
        )


def refuse_elsewhere(label: str, alias: str, home: str) -> None:
    """Raise RoutingError where rows would be sought or stored on a shard that is not theirs."""
    if settings().primary_of(alias) != home:
        raise RoutingError(
            f"{label}: {alias} was named, but the rows in question are on {home}. Leave out "
            f"`using`; for another shard, `with all_accounts({alias!r}):`."
        )


def refuse_cross_account(one: models.Model, other: models.Model) -> None:
    """Raise CrossAccount where two sharded rows belong to different accounts.

    A row that is not stamped yet counts as the account's in force.
    """
    if not (is_sharded(type(one)) and is_sharded(type(other))):
        return
    mine = _account_of(one) or current_account()
    theirs = _account_of(other) or current_account()
    if mine is not None and theirs is not None and mine != theirs:
        raise CrossAccount(
            f"{one._meta.label} of account {mine} cannot refer to {other._meta.label} "
            f"{other.pk} of account {theirs}. Relate rows of one account only."
        )


def refuse_foreign_instance(scope: Scope, instance: Any) -> None:
    """Raise CrossAccount for a query that starts at an object of another account, or names one."""
    if instance is None or scope.account_id is None or not is_sharded(type(instance)):
        return
    if (account := _account_of(instance)) not in (None, scope.account_id):
        raise CrossAccount(
            f"{instance._meta.label} {instance.pk} belongs to account {account}, and a query of "
            f"{scope} begins there or asks for it. Do it inside `with account_context({account}):`."
        )


def _account_of(row: Any) -> int | None:
    """None for a row that is new, or was read without it: to ask for it would be a query."""
    account: int | None = row.__dict__.get("account_id")
    return account


@contextmanager
def translated(model: type[models.Model]) -> Iterator[None]:
    """Turn the refusal of the database's own guard into ForeignLink."""
    try:
        yield
    except IntegrityError as error:
        if LINK_REFUSED not in str(error):
            raise
        refusal = str(error).partition("\n")[0]
        raise ForeignLink(f"{model._meta.label} cannot be stored: {refusal}.") from error

"""System checks: mistakes in settings and models that would break routing, found at start-up."""

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Warning
from django.core.exceptions import ImproperlyConfigured
from django.db import models

from routers.conf import CATALOG, settings
from routers.keys import MAX_SHARD_NUMBER
from routers.managers import AccountQuerySet
from routers.placement import Placement, is_sharded, placement_of, reference_models, sharded_models
from routers.reference.query import ReferenceManager

__all__ = ["check_models", "check_settings", "refuse_leaks"]


def check_settings(app_configs: object, **kwargs: Any) -> list[CheckMessage]:
    """E001 to E004: shards against DATABASES, their numbers, and the router."""
    shards = settings().shards
    problems: list[CheckMessage] = []
    for alias in sorted(set(shards) - set(django_settings.DATABASES)):
        problems.append(_error("E001", f"{alias} is in SHARDING['SHARDS'] but not in DATABASES."))
    if CATALOG in shards:
        problems.append(_error("E002", f"{CATALOG!r} is the catalog and cannot be a shard."))
    numbers = list(shards.values())
    if len(set(numbers)) < len(numbers) or any(not 0 <= n <= MAX_SHARD_NUMBER for n in numbers):
        hint = f"Each shard has a number of its own, from 0 to {MAX_SHARD_NUMBER}: {dict(shards)}."
        problems.append(_error("E003", hint))
    if "routers.router.ShardRouter" not in django_settings.DATABASE_ROUTERS:
        hint = "DATABASE_ROUTERS does not name 'routers.router.ShardRouter'."
        problems.append(_error("E004", hint))
    return problems


def check_models(app_configs: object, **kwargs: Any) -> list[CheckMessage]:
    """E005 to E011, W014: what a sharded model must have and must not refer to.

    E012 and E013: the same of a reference model.
    """
    problems: list[CheckMessage] = []
    for model in sharded_models():
        problems += _inheritance_problems(model)
        problems += _constraint_problems(model)
        problems += _unique_problems(model)
        problems += _manager_problems(model)
        problems += _relation_problems(model)
    for model in reference_models():
        problems += _reference_problems(model)
    return problems


def _constraint_problems(model: type[models.Model]) -> Iterator[CheckMessage]:
    unique = [c for c in model._meta.constraints if isinstance(c, models.UniqueConstraint)]
    if ("account_id", "id") in [tuple(constraint.fields) for constraint in unique]:
        return
    yield _error(
        "E005",
        f"{model._meta.label} has no unique index on (account_id, id).",
        "Inherit the Meta: `class Meta(ShardedModel.Meta):`, and begin its own constraints with "
        "`*ShardedModel.Meta.constraints`.",
        model,
    )


def _unique_problems(model: type[models.Model]) -> Iterator[CheckMessage]:
    """Of fields that are no relation: the row that one leads to is the account's anyway."""
    together = [tuple(constraint.fields) for constraint in model._meta.total_unique_constraints]
    alone = [(f.name,) for f in model._meta.local_fields if f.unique and not f.primary_key]
    for names in [*alone, *model._meta.unique_together, *together]:
        related = any(model._meta.get_field(name).is_relation for name in names)
        if "account_id" not in names and not related:
            yield Warning(
                f"{model._meta.label} is unique by {', '.join(names)} over accounts: it tells one "
                f"account what another has, and two shards may hold the same.",
                hint=f"UniqueConstraint(fields={['account_id', *names]}, name=…).",
                obj=model,
                id="routers.W014",
            )


def _inheritance_problems(model: type[models.Model]) -> Iterator[CheckMessage]:
    for parent in model._meta.parents:
        yield _error(
            "E010",
            f"{model._meta.label} shares the table of {parent._meta.label}: its own table has no "
            f"account_id.",
            f"Make {parent._meta.label} abstract, or refer to it by a OneToOneField.",
            model,
        )


def _manager_problems(model: type[models.Model]) -> Iterator[CheckMessage]:
    for manager in {*model._meta.managers, model._base_manager}:
        if not isinstance(manager.get_queryset(), AccountQuerySet):
            yield _error(
                "E008",
                f"{model._meta.label}.{manager.name} makes a queryset that is no AccountQuerySet: "
                f"it would not be filtered by account.",
                "Derive the manager from routers.managers.AccountManager, or make it from an "
                "AccountQuerySet, and begin with super().get_queryset().",
                model,
            )


def refuse_leaks() -> None:
    """E008 when Django starts, where nobody runs checks. Raises ImproperlyConfigured."""
    for model in apps.get_models():
        for problem in _manager_problems(model) if is_sharded(model) else ():
            raise ImproperlyConfigured(f"({problem.id}) {problem.msg} {problem.hint}")


def _relation_problems(model: type[models.Model]) -> Iterator[CheckMessage]:
    for field in model._meta.get_fields(include_parents=False):
        target = field.related_model
        if field.auto_created or not isinstance(target, type):
            continue
        if field.many_to_many and field.remote_field.through._meta.auto_created:  # type: ignore[union-attr]
            yield _error(
                "E006",
                f"{model._meta.label}.{field.name} makes a table that has no account_id.",
                "Write the table in between as a ShardedModel and name it with `through=`.",
                model,
            )
        elif placement_of(target) is Placement.REFERENCE and not _is_hidden(field):
            yield _error(
                "E009",
                f"{model._meta.label}.{field.name} lets {target._meta.label} reach back into the "
                f"rows of every account.",
                'Hide the way back: related_name="+".',
                model,
            )
        elif placement_of(target) is Placement.REFERENCE and not _is_protecting(field):
            yield _error(
                "E011",
                f"{model._meta.label}.{field.name} does not protect {target._meta.label}: rows are "
                f"deleted in the catalog, which has none of the rows that would have to follow.",
                "Say on_delete=models.PROTECT.",
                model,
            )
        elif placement_of(target) is Placement.GLOBAL:
            yield _error(
                "E007",
                f"{model._meta.label}.{field.name} refers to {target._meta.label}, which lives in "
                f"the catalog: no join and no foreign key reaches it from a shard.",
                "Keep the id in a BigIntegerField, or make the target a ReferenceModel.",
                model,
            )


def _reference_problems(model: type[models.Model]) -> Iterator[CheckMessage]:
    label = model._meta.label
    for manager in model._meta.managers:
        if not isinstance(manager, ReferenceManager):
            yield _error(
                "E012",
                f"{label}.{manager.name} is no ReferenceManager: its delete() would not look at "
                f"the shards' rows first.",
                "Derive it from routers.reference.query.ReferenceManager.",
                model,
            )
    for field in model._meta.get_fields(include_parents=False):
        target = field.related_model
        if field.auto_created or not isinstance(target, type):
            continue
        made = field.many_to_many and field.remote_field.through._meta.auto_created  # type: ignore[union-attr]
        if made or placement_of(target) is not Placement.REFERENCE:
            yield _error(
                "E013",
                f"{label}.{field.name} leads to a table of which the shards have no copy.",
                "A reference model refers to reference models only, and the table in between is "
                "one too: name it with `through=`.",
                model,
            )


def _is_protecting(field: Any) -> bool:
    return field.many_to_many or field.remote_field.on_delete in (models.PROTECT, models.RESTRICT)


def _is_hidden(field: Any) -> bool:
    return bool(field.remote_field.hidden) and not field.remote_field.related_query_name


def _error(number: str, message: str, hint: str | None = None, obj: object = None) -> Error:
    return Error(message, hint=hint, obj=obj, id=f"routers.{number}")

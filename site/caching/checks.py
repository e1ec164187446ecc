"""System checks: models that look cached and would be read from the database, without a word.

Fragments that show what is one visitor's: `template_checks`.
"""

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Error, Warning
from django.db import models

from caching.places import is_cached
from caching.queryset import CachingAccountQuerySet, CachingQuerySet, CachingReferenceQuerySet
from caching.template_checks import check_templates
from routers.placement import Placement, placement_of

__all__ = ["check_models", "check_templates"]

Model = type[models.Model]
KINDS: dict[Placement, type[Any]] = {
    Placement.SHARDED: CachingAccountQuerySet,
    Placement.GLOBAL: CachingQuerySet,
    Placement.REFERENCE: CachingReferenceQuerySet,
}


def check_models(app_configs: object, **kwargs: Any) -> list[CheckMessage]:
    """E001 to E002, W003 to W004."""
    problems: list[CheckMessage] = []
    for model in apps.get_models():
        lost = list(_lost(model))
        problems += lost
        if not lost and is_cached(model):
            problems += _of_another_kind(model)
            problems += _passed_by(model)
    return problems


def _lost(model: Model) -> Iterator[CheckMessage]:
    """A base's manager that another base, or the model itself, has taken the place of."""
    for base in model.__mro__[1:]:
        for manager in base._meta.local_managers if hasattr(base, "_meta") else ():
            here = model._meta.managers_map[manager.name]
            if getattr(manager, "caches", False) and not getattr(here, "caches", False):
                yield Error(
                    f"{base.__name__}.{manager.name} caches, and {model._meta.label} takes its "
                    f"{manager.name} from elsewhere ({type(here).__name__}): nothing is cached.",
                    hint=f"Name {base.__name__} first among the bases of {model.__name__}, or "
                    f"derive that manager from CachingManager.",
                    obj=model,
                    id="caching.E001",
                )


def _of_another_kind(model: Model) -> Iterator[CheckMessage]:
    kind = KINDS[placement_of(model)]
    for manager in model._meta.managers:
        if not getattr(manager, "caches", False):
            continue
        made = type(manager.get_queryset())
        if not issubclass(made, kind):
            yield Error(
                f"{model._meta.label}.{manager.name} makes a {made.__name__}, which does not cache "
                f"rows of a {placement_of(model)} model.",
                hint=f"Derive its queryset from {kind.__name__}.",
                obj=model,
                id="caching.E002",
            )


def _passed_by(model: Model) -> Iterator[CheckMessage]:
    """Relations are read by these two, whatever other managers there are."""
    default, base = model._meta.default_manager, model._meta.base_manager
    if default is not None and not getattr(default, "caches", False):
        yield Warning(
            f"{model._meta.label} is cached, and its default manager {default.name} does not "
            f"cache: what relations lead to many of its rows is read from the database.",
            hint="Name the caching one first, or say default_manager_name in its Meta.",
            obj=model,
            id="caching.W003",
        )
    if not getattr(base, "caches", False):
        yield Warning(
            f"{model._meta.label} is cached, and its base manager {base.name} does not cache: what "
            f"leads to one of its rows (order.customer) is read from the database.",
            hint="Leave base_manager_name out of its Meta, or name a CachingBaseManager.",
            obj=model,
            id="caching.W004",
        )

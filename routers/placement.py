"""Where a model lives: sharded, reference or global."""

from enum import StrEnum

from django.apps import apps
from django.db import models

from routers.conf import settings
from routers.exceptions import UnknownPlacement

__all__ = [
    "Placement",
    "is_sharded",
    "placement_of",
    "placement_of_name",
    "reference_models",
    "sharded_models",
]


class Placement(StrEnum):
    SHARDED = "sharded"
    REFERENCE = "reference"
    GLOBAL = "global"


def placement_of(model: type[models.Model]) -> Placement:
    """A model's placement, which its base class says. A model of no such base is global."""
    return getattr(model, "routers_placement", Placement.GLOBAL)


def is_sharded(model: type[models.Model]) -> bool:
    """Whether the model's rows belong to accounts."""
    return placement_of(model) is Placement.SHARDED


def placement_of_name(app_label: str, model_name: str) -> Placement:
    """The placement of a model named by a migration, which may have been deleted since.

    Raises UnknownPlacement for a deleted model that SHARDING["RETIRED_MODELS"] does not name.
    """
    name = f"{app_label}.{model_name}".lower()
    try:
        return placement_of(apps.get_model(name))
    except LookupError:
        pass
    try:
        return Placement(settings().retired_models[name])
    except KeyError:
        raise UnknownPlacement(
            f"A migration names the model {name}, which is gone. Say where it lived: "
            f"SHARDING['RETIRED_MODELS'] = {{'{name}': 'sharded'}} (or 'reference', 'global')."
        ) from None


def sharded_models() -> list[type[models.Model]]:
    """Every concrete sharded model, sorted by label."""
    return _models_of(Placement.SHARDED)


def reference_models() -> list[type[models.Model]]:
    """Every concrete reference model, sorted by label."""
    return _models_of(Placement.REFERENCE)


def _models_of(placement: Placement) -> list[type[models.Model]]:
    every: list[type[models.Model]] = apps.get_models()
    found = [model for model in every if placement_of(model) is placement and not model._meta.proxy]
    return sorted(found, key=lambda model: model._meta.label)

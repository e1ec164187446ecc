"""Carrying reference models from the catalog to every shard."""

from collections.abc import Iterable

from django.db import models, transaction

from routers.conf import CATALOG, settings
from routers.placement import reference_models

__all__ = ["publish_references"]


def publish_references(shards: Iterable[str] | None = None) -> dict[str, int]:
    """Make every shard's copy of every reference model equal to the catalog's.

    Returns label → rows. One transaction a shard, so a reader sees the old copy or the new one.
    """
    rows = {model: list(model._base_manager.using(CATALOG).all()) for model in reference_models()}
    for shard in shards or settings().shards:
        with transaction.atomic(using=shard):
            for model, wanted in rows.items():
                _replace(shard, model, wanted)
    return {model._meta.label: len(wanted) for model, wanted in rows.items()}


def _replace(shard: str, model: type[models.Model], wanted: list[models.Model]) -> None:
    manager = model._base_manager.using(shard)
    # Without Django's collector, which would look for rows that refer to these in every account.
    # PostgreSQL's and SQLite's own foreign keys refuse the deletion of a row that is in use.
    manager.exclude(pk__in=[row.pk for row in wanted])._raw_delete(using=shard)
    fields = [field.name for field in model._meta.concrete_fields if not field.primary_key]
    manager.bulk_create(
        wanted, update_conflicts=True, unique_fields=[model._meta.pk.name], update_fields=fields
    )

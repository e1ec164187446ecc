"""Writes on reference models: in the catalog only, and never under a row that a shard still uses.

The catalog has none of the rows that refer to a reference row, and replication applies a deletion
without asking a foreign key. So every deletion looks at all shards first.
"""

from collections.abc import Iterable
from typing import Any, TypeVar

from django.db import Error, models
from django.db.models.deletion import Collector, ProtectedError

from routers.conf import CATALOG, settings
from routers.exceptions import RoutingError
from routers.placement import is_sharded
from routers.query import JoinedQuery

__all__ = ["ReferenceCollector", "ReferenceManager", "ReferenceQuerySet", "refuse_copy"]

M = TypeVar("M", bound=models.Model)
SHOWN = 1000  # rows in use are counted so far: there may be very many


def refuse_copy(model: type[models.Model], alias: str | None) -> None:
    """Raise RoutingError for a write anywhere but in the catalog. None is the router's choice."""
    if alias not in (None, CATALOG):
        raise RoutingError(
            f"{model._meta.label} is written in the catalog, and {alias} holds a copy of it. Leave "
            f"out `using`; copies follow by themselves."
        )


class ReferenceCollector(Collector):
    """Django's collector of what a deletion takes along; sharded rows are never among it."""

    def related_objects(
        self, related_model: Any, related_fields: Any, objs: Any
    ) -> "models.QuerySet[Any]":
        """None of a sharded model. Raises ProtectedError where there are some on any shard."""
        if not is_sharded(related_model):
            return super().related_objects(related_model, related_fields, objs)
        for field in related_fields:
            for shard in sorted(settings().shards):
                _refuse_used(shard, field, objs)
        return models.QuerySet(related_model, using=self.using).none()


def _refuse_used(shard: str, field: Any, objs: Any) -> None:
    """Of all accounts, so past the model's own manager. One shard after the other: it is rare."""
    rows: models.QuerySet[Any] = models.QuerySet(field.model, using=shard)
    users = rows.filter(**{f"{field.name}__in": objs})
    name = f"{field.model._meta.label}.{field.name}"
    target = objs[0]._meta.label
    try:
        count = users.order_by()[: SHOWN + 1].count()
    except Error as error:
        raise RoutingError(
            f"Nothing was deleted: whether {name} on {shard} refers to this {target} cannot be "
            f"told ({str(error).strip()}). Try again when {shard} is back."
        ) from error
    if count:
        shown = f"more than {SHOWN}" if count > SHOWN else str(count)
        raise ProtectedError(
            f"{target} is in use on {shard}: {shown} of {name} refer to what was to be deleted "
            f"({', '.join(str(row.pk) for row in objs[:5])}{' …' if len(objs) > 5 else ''}). "
            f"Change or delete those rows first.",
            set(users.order_by()[:5]),
        )


class ReferenceQuerySet(models.QuerySet[M]):
    """Django's, except that writes stay in the catalog and `delete()` looks at every shard."""

    def __init__(self, model: Any = None, query: Any = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(model, query or JoinedQuery(model), *args, **kwargs)

    def delete(self) -> tuple[int, dict[str, int]]:
        """Raises ProtectedError, naming shard and model, where a shard has rows that refer here."""
        if self.query.is_sliced:
            raise TypeError("Cannot use 'limit' or 'offset' with delete().")
        self._write_in_catalog()
        collector = ReferenceCollector(using=CATALOG, origin=self)
        collector.collect(list(self.using(CATALOG)))
        return collector.delete()

    delete.alters_data = True  # type: ignore[attr-defined]
    delete.queryset_only = True  # type: ignore[attr-defined]

    def bulk_create(self, objs: Iterable[M], *args: Any, **kwargs: Any) -> list[M]:
        self._write_in_catalog()
        return super().bulk_create(objs, *args, **kwargs)

    def bulk_update(
        self, objs: Iterable[M], fields: Iterable[str], batch_size: int | None = None
    ) -> int:
        self._write_in_catalog()
        return super().bulk_update(objs, fields, batch_size)

    def update(self, **values: Any) -> int:
        self._write_in_catalog()
        return super().update(**values)

    update.alters_data = True  # type: ignore[attr-defined]

    # Django's own hooks, through which every other write passes.

    def _insert(self, objs: Any, *args: Any, **kwargs: Any) -> Any:
        refuse_copy(self.model, kwargs.get("using") or self._db)  # type: ignore[attr-defined]
        return super()._insert(objs, *args, **kwargs)  # type: ignore[misc]

    def _update(self, values: Any) -> int:
        self._write_in_catalog()
        return super()._update(values)  # type: ignore[misc]

    def _raw_delete(self, using: str | None) -> int:
        refuse_copy(self.model, using)
        return super()._raw_delete(using)

    def _write_in_catalog(self) -> None:
        refuse_copy(self.model, self._db)  # type: ignore[attr-defined]


class ReferenceManager(models.Manager.from_queryset(ReferenceQuerySet)):  # type: ignore[misc]
    """The manager of every reference model."""

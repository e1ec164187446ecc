"""The managers of cached models."""

from typing import Any

from django.db import models

from caching.queryset import CachingAccountQuerySet, CachingQuerySet, CachingReferenceQuerySet
from routers.placement import is_sharded
from routers.reference.query import ReferenceManager

__all__ = ["CachingManager", "CachingReferenceManager"]


class CachingManager(models.Manager.from_queryset(CachingAccountQuerySet)):  # type: ignore[misc]
    """Of a sharded or global model: `objects = CachingManager()`.

    A project's own querysets derive from the class of their kind:
    `objects = CachingManager.from_queryset(OrderQuerySet)()`.
    """

    caches = True

    def get_queryset(self) -> Any:
        made = self._queryset_class
        if made is CachingAccountQuerySet and not is_sharded(self.model):
            made = CachingQuerySet
        return made(self.model, None, self._db, self._hints)


class CachingReferenceManager(ReferenceManager.from_queryset(CachingReferenceQuerySet)):  # type: ignore[misc]
    """Of a reference model."""

    caches = True

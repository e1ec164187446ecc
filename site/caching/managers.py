"""The managers of cached models, and those by which their relations read."""

from typing import Any

from django.db import models

from caching.queryset import CachingAccountQuerySet, CachingQuerySet, CachingReferenceQuerySet
from routers.managers import AccountQuerySet
from routers.placement import is_sharded
from routers.reference.query import ReferenceManager, ReferenceQuerySet

__all__ = ["CachingBaseManager", "CachingManager", "CachingReferenceManager"]


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

    def contribute_to_class(self, cls: Any, name: str) -> None:
        super().contribute_to_class(cls, name)
        _relate(cls, CachingBaseManager)


class CachingBaseManager(CachingManager):
    """By which `order.customer` is read: all rows, whatever `objects` leaves out."""

    def get_queryset(self) -> Any:
        found = super().get_queryset()
        found._for_relations = True
        return found

    def using(self, alias: str | None) -> Any:
        """save() and delete() name the database: theirs is an ordinary queryset, as without us."""
        made: Any = AccountQuerySet if is_sharded(self.model) else models.QuerySet
        return made(self.model, None, alias, self._hints)

    def contribute_to_class(self, cls: Any, name: str) -> None:
        models.Manager.contribute_to_class(self, cls, name)


class CachingReferenceManager(ReferenceManager.from_queryset(CachingReferenceQuerySet)):  # type: ignore[misc]
    """Of a reference model."""

    caches = True

    def contribute_to_class(self, cls: Any, name: str) -> None:
        super().contribute_to_class(cls, name)
        _relate(cls, CachingReferenceBaseManager)


class CachingReferenceBaseManager(CachingReferenceManager):
    """By which a row's language is read."""

    def get_queryset(self) -> Any:
        found = super().get_queryset()
        found._for_relations = True
        return found

    def using(self, alias: str | None) -> Any:
        """As the other's."""
        return ReferenceQuerySet(self.model, None, alias, self._hints)

    def contribute_to_class(self, cls: Any, name: str) -> None:
        models.Manager.contribute_to_class(self, cls, name)


def _relate(cls: Any, make: type[models.Manager[Any]]) -> None:
    """See to it that the model's base manager caches, where the model does not name one itself."""
    name = "account_rows" if is_sharded(cls) else "cached_rows"
    if cls._meta.base_manager_name not in (None, name):
        return
    if not any(manager.name == name for manager in cls._meta.local_managers):
        cls.add_to_class(name, make())
    cls._meta.base_manager_name = name

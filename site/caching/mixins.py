"""Models whose rows are cached.

    class Order(CachingMixin, ShardedModel):
        cache_seconds = 600  # where not CACHING["SECONDS"]
        customer = models.ForeignKey(Customer, models.CASCADE, related_name="orders")

    Order.objects.filter(paid=False)            from the cache, and so are counts and nothing found
    Order.objects.cache(60).get(pk=1)           kept for a minute
    Order.objects.no_cache().get(pk=1)          asked of the database
    order.customer, customer.orders.all()       from the cache, where the other model is cached
    order.forget()                              see `memoise`, for methods and properties

The mixin stands first: `objects` is the first base's. `manage.py check` finds where it is not.
"""

from typing import Any, ClassVar

from django.db import models

from caching.managers import CachingBaseManager, CachingManager, CachingReferenceManager
from caching.memoise import Memoises

__all__ = ["CachingMixin", "CachingReferenceMixin"]


class CachingMixin(Memoises, models.Model):
    """Of a sharded or global model."""

    cache_seconds: ClassVar[int | None] = None

    objects: ClassVar[Any] = CachingManager()
    account_rows: ClassVar[Any] = CachingBaseManager()  # a ShardedModel's, which would not cache

    class Meta:
        abstract = True


class CachingReferenceMixin(Memoises, models.Model):
    """Of a reference model."""

    cache_seconds: ClassVar[int | None] = None

    objects: ClassVar[Any] = CachingReferenceManager()

    class Meta:
        abstract = True


# Else a model without a Meta would take theirs, and not that of the base beside them.
del CachingMixin.Meta, CachingReferenceMixin.Meta

"""Models whose migrations are a small history, for the tests of `migrate_shards`."""

from django.db import models

from routers.models import GlobalModel, ReferenceModel, ShardedModel

__all__ = ["Book", "Entry", "Kind"]


class Book(GlobalModel):
    title = models.CharField(max_length=50)


class Kind(ReferenceModel):
    code = models.CharField(primary_key=True, max_length=3)


class Entry(ShardedModel):
    title = models.CharField(max_length=50, db_index=True)
    kind = models.ForeignKey(Kind, models.PROTECT, null=True, related_name="+")
    amount = models.IntegerField(default=0, db_default=0)

    class Meta(ShardedModel.Meta):
        constraints = [
            *ShardedModel.Meta.constraints,
            models.CheckConstraint(
                condition=models.Q(amount__gte=0), name="ledgerapp_entry_amount"
            ),
        ]

"""A small shop: customers are accounts."""

from django.db import models

from routers.models import GlobalModel, ReferenceModel, ShardedModel


class Plan(GlobalModel):
    name = models.CharField(max_length=50)

    class Meta:
        app_label = "shop"


class Currency(ReferenceModel):
    code = models.CharField(primary_key=True, max_length=3)
    name = models.CharField(max_length=50)

    class Meta:
        app_label = "shop"


class Tag(ShardedModel):
    name = models.CharField(max_length=50)

    class Meta(ShardedModel.Meta):
        app_label = "shop"


class Order(ShardedModel):
    title = models.CharField(max_length=50)
    currency = models.ForeignKey(Currency, on_delete=models.PROTECT, null=True, related_name="+")
    parent = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, related_name="parts")
    tags: models.ManyToManyField = models.ManyToManyField(Tag, through="Tagging")

    class Meta(ShardedModel.Meta):
        app_label = "shop"


class Line(ShardedModel):
    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="lines")
    amount = models.IntegerField(default=1)

    class Meta(ShardedModel.Meta):
        app_label = "shop"


class Tagging(ShardedModel):
    order = models.ForeignKey(Order, on_delete=models.CASCADE)
    tag = models.ForeignKey(Tag, on_delete=models.CASCADE)

    class Meta(ShardedModel.Meta):
        app_label = "shop"

"""A small shop: customers are accounts."""

from django.contrib.postgres.fields import ArrayField, DateTimeRangeField, DecimalRangeField
from django.contrib.postgres.search import SearchVectorField
from django.db import models

from routers.models import GlobalModel, ReferenceModel, ShardedModel
from tests.unit.databases import CONFIG


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


class Everything(ShardedModel):
    """A column of each kind that both engines have; what a move has to carry."""

    flag = models.BooleanField(null=True)
    small = models.SmallIntegerField(null=True)
    number = models.IntegerField(null=True)
    positive = models.PositiveBigIntegerField(null=True)
    ratio = models.FloatField(null=True)
    price = models.DecimalField(max_digits=12, decimal_places=4, null=True)
    text = models.TextField(default="")
    short = models.CharField(max_length=20, default="")
    slug = models.SlugField(default="")
    day = models.DateField(null=True)
    hour = models.TimeField(null=True)
    at = models.DateTimeField(null=True)
    took = models.DurationField(null=True)
    blob = models.BinaryField(null=True)
    uuid = models.UUIDField(null=True)
    address = models.GenericIPAddressField(null=True)
    document = models.JSONField(null=True)
    file = models.FileField(null=True)
    currency = models.ForeignKey(Currency, on_delete=models.PROTECT, null=True, related_name="+")
    parent = models.ForeignKey("self", on_delete=models.CASCADE, null=True, related_name="+")
    twice = models.GeneratedField(
        expression=models.F("number") * 2, output_field=models.IntegerField(), db_persist=True
    )

    if CONFIG:  # and those of PostgreSQL alone
        labels = ArrayField(models.TextField(null=True), null=True)
        matrix = ArrayField(ArrayField(models.IntegerField()), null=True)
        span = DateTimeRangeField(null=True)
        prices = DecimalRangeField(null=True)
        words = SearchVectorField(null=True)

    class Meta(ShardedModel.Meta):
        app_label = "shop"
        constraints = [
            *ShardedModel.Meta.constraints,
            models.UniqueConstraint(fields=["account_id", "small"], name="shop_everything_small"),
        ]

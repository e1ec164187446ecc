"""A library: accounts are its branches."""

from django.db import models

from caching.managers import CachingManager, CachingReferenceManager
from routers.models import GlobalModel, ReferenceModel, ShardedModel


class Publisher(GlobalModel):
    name = models.CharField(max_length=50)

    objects = CachingManager()

    class Meta:
        app_label = "shelf"


class Reading(GlobalModel):
    """Not cached."""

    publisher = models.ForeignKey(Publisher, models.CASCADE)

    class Meta:
        app_label = "shelf"


class Language(ReferenceModel):
    code = models.CharField(primary_key=True, max_length=3)
    name = models.CharField(max_length=50)

    objects = CachingReferenceManager()

    class Meta:
        app_label = "shelf"


class Author(ShardedModel):
    name = models.CharField(max_length=50)

    objects = CachingManager()

    class Meta(ShardedModel.Meta):
        app_label = "shelf"


class Tag(ShardedModel):
    name = models.CharField(max_length=50)

    objects = CachingManager()

    class Meta(ShardedModel.Meta):
        app_label = "shelf"


class Book(ShardedModel):
    title = models.CharField(max_length=50)
    copies = models.IntegerField(default=0)
    price = models.DecimalField(max_digits=8, decimal_places=2, null=True)
    bought_at = models.DateTimeField(null=True)
    facts = models.JSONField(default=dict)
    author = models.ForeignKey(Author, models.CASCADE, null=True, related_name="books")
    language = models.ForeignKey(Language, models.PROTECT, null=True, related_name="+")
    tags: models.ManyToManyField = models.ManyToManyField(Tag, through="Tagging")

    objects = CachingManager()

    class Meta(ShardedModel.Meta):
        app_label = "shelf"


class Cover(ShardedModel):
    book = models.OneToOneField(Book, models.CASCADE, related_name="cover")
    colour = models.CharField(max_length=20)

    objects = CachingManager()

    class Meta(ShardedModel.Meta):
        app_label = "shelf"


class Tagging(ShardedModel):
    book = models.ForeignKey(Book, models.CASCADE)
    tag = models.ForeignKey(Tag, models.CASCADE)

    class Meta(ShardedModel.Meta):
        app_label = "shelf"

"""Tasks and countries: small, the same for everybody, a copy on every shard."""

from django.db import models

from caching.mixins import CachingReferenceMixin
from routers.models import ReferenceModel


class Task(CachingReferenceMixin, ReferenceModel):
    """An output-only task: the candidate gets an input file and submits the outputs.

    The code that makes inputs and checks outputs is `tasks.library`, found by `slug`.
    """

    cache_in_process = True  # read by every page of a candidate, written when it is loaded

    slug = models.SlugField(unique=True)
    title = models.CharField(max_length=100)
    statement = models.JSONField(help_text="the blocks of the text, as tasks.library gives them")
    example_input = models.TextField()
    example_output = models.TextField()
    cases = models.JSONField(help_text="hidden cases: group, name and size of each")
    points = models.PositiveSmallIntegerField(default=100)
    minutes = models.PositiveSmallIntegerField(default=30, help_text="suggested time")
    difficulty = models.CharField(max_length=10)

    def __str__(self) -> str:
        return self.title


class Country(CachingReferenceMixin, ReferenceModel):
    """A country by its ISO 3166 code."""

    cache_in_process = True

    code = models.CharField(primary_key=True, max_length=2)
    name = models.CharField(max_length=100)

    class Meta:
        verbose_name_plural = "countries"

    def __str__(self) -> str:
        return self.name

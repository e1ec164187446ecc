"""Contests, in the catalog; and which of an account's tests is its part in one, on its shard."""

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from assessments.models import Test
from routers.models import GlobalModel, ShardedModel
from tasks.models import Task


class Contest(GlobalModel):
    """Tasks that candidates of all accounts may sit between two instants, for a public board."""

    slug = models.SlugField(unique=True)
    name = models.CharField(max_length=80)
    about = models.TextField(blank=True)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(help_text="for everybody, whenever they began")
    minutes = models.PositiveSmallIntegerField(
        default=90, validators=[MinValueValidator(5), MaxValueValidator(600)]
    )
    tasks = models.ManyToManyField(Task, through="ContestTask", related_name="+")

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(ends_at__gt=F("starts_at")), name="contests_contest_ends_later"
            )
        ]
        indexes = [models.Index(fields=["ends_at"], name="contests_contest_ends")]

    def __str__(self) -> str:
        return self.name

    @property
    def state(self) -> str:
        """ahead, running or over."""
        now = timezone.now()
        if now < self.starts_at:
            return "ahead"
        return "running" if now < self.ends_at else "over"


class ContestTask(GlobalModel):
    """A task's place in a contest."""

    contest = models.ForeignKey(Contest, on_delete=models.CASCADE, related_name="contest_tasks")
    task = models.ForeignKey(Task, on_delete=models.PROTECT, related_name="+")
    position = models.PositiveSmallIntegerField()

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["contest", "task"], name="contests_contesttask_once")
        ]

    def __str__(self) -> str:
        return f"{self.position}. task {self.task_id} of contest {self.contest_id}"


class ContestTest(ShardedModel):
    """The account's own test of a contest's tasks: whoever is invited to it takes part.

    `contest_id` is a key in the catalog, which a shard's foreign key cannot reach.
    """

    contest_id = models.BigIntegerField()
    test = models.OneToOneField(Test, on_delete=models.CASCADE, related_name="contest")

    class Meta(ShardedModel.Meta):
        constraints = [
            *ShardedModel.Meta.constraints,
            # The contest first: its board asks for it over all accounts.
            models.UniqueConstraint(
                fields=["contest_id", "account_id"], name="contests_contesttest_once"
            ),
        ]

    def __str__(self) -> str:
        return f"test {self.test_id} for contest {self.contest_id}"

"""Tests, candidates, sessions and answers: an account's own rows, on its shard."""

import secrets

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from assessments.indexes import NullsLastIndex
from caching.mixins import CachingMixin
from routers.models import ShardedModel
from tasks.models import Country, Task

CODE_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"  # nothing that reads like something else
CODE_LENGTH = 12


def new_code() -> str:
    """A random invitation code of 60 bits, in capitals and digits."""
    return "".join(secrets.choice(CODE_ALPHABET) for _ in range(CODE_LENGTH))


class Test(CachingMixin, ShardedModel):
    """A choice of tasks with a time limit."""

    name = models.CharField(max_length=100)
    minutes = models.PositiveSmallIntegerField(
        default=90, validators=[MinValueValidator(5), MaxValueValidator(600)]
    )
    created_at = models.DateTimeField(default=timezone.now)
    tasks = models.ManyToManyField(Task, through="TestTask", related_name="+")

    class Meta(ShardedModel.Meta):
        constraints = [
            *ShardedModel.Meta.constraints,
            models.UniqueConstraint(fields=["account_id", "name"], name="assessments_test_name"),
        ]

    def __str__(self) -> str:
        return self.name


class TestTask(CachingMixin, ShardedModel):
    """A task's place in a test."""

    test = models.ForeignKey(Test, on_delete=models.CASCADE, related_name="test_tasks")
    task = models.ForeignKey(Task, on_delete=models.PROTECT, related_name="+", db_index=False)
    position = models.PositiveSmallIntegerField()

    class Meta(ShardedModel.Meta):
        ordering = ["position"]
        constraints = [
            *ShardedModel.Meta.constraints,
            models.UniqueConstraint(fields=["test", "task"], name="assessments_testtask_once"),
        ]

    def __str__(self) -> str:
        return f"{self.position}. task {self.task_id} of test {self.test_id}"


class Candidate(CachingMixin, ShardedModel):
    """A person whom the account invites; known by e-mail address within the account."""

    email = models.EmailField()
    name = models.CharField(max_length=200)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta(ShardedModel.Meta):
        constraints = [
            *ShardedModel.Meta.constraints,
            models.UniqueConstraint(
                fields=["account_id", "email"], name="assessments_candidate_email"
            ),
        ]
        indexes = [
            # With the address beside it, a search reads the index alone.
            models.Index(
                fields=["account_id", "name"],
                include=["email"],
                name="assessments_candidate_by_name",
            )
        ]

    def __str__(self) -> str:
        return self.name


class TestSession(CachingMixin, ShardedModel):
    """One candidate's sitting of one test, from invitation to report."""

    class Status(models.TextChoices):
        INVITED = "invited", "not started"
        STARTED = "started", "in progress"
        FINISHED = "finished", "being judged"
        CLOSED = "closed", "closed"

    code = models.CharField(max_length=CODE_LENGTH, default=new_code)
    test = models.ForeignKey(
        Test, on_delete=models.PROTECT, related_name="sessions", db_index=False
    )
    candidate = models.ForeignKey(Candidate, on_delete=models.CASCADE, related_name="sessions")
    country = models.ForeignKey(
        Country, on_delete=models.PROTECT, related_name="+", null=True, blank=True, db_index=False
    )
    status = models.CharField(max_length=10, choices=Status, default=Status.INVITED)
    created_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    deadline = models.DateTimeField(null=True, blank=True, help_text="when it ends by itself")
    judge_asked_at = models.DateTimeField(null=True, blank=True, help_text="when a job was sent")
    judged_at = models.DateTimeField(null=True, blank=True)
    score = models.PositiveIntegerField(null=True, blank=True, help_text="points")
    maximum = models.PositiveIntegerField(default=0, help_text="points that can be reached")
    similarity = models.PositiveSmallIntegerField(null=True, blank=True, help_text="per cent")

    class Meta(ShardedModel.Meta):
        constraints = [
            *ShardedModel.Meta.constraints,
            models.UniqueConstraint(fields=["account_id", "code"], name="assessments_session_code"),
            # A double click makes one invitation, not two.
            models.UniqueConstraint(
                fields=["account_id", "test", "candidate"],
                condition=Q(status="invited"),
                name="assessments_session_invited_once",
            ),
        ]
        indexes = [
            models.Index(
                fields=["account_id", "created_at", "id"], name="assessments_session_created"
            ),
            models.Index(fields=["account_id", "status", "id"], name="assessments_session_status"),
            # All that the dashboard's figures need, in the order in which it counts.
            models.Index(
                fields=["account_id", "test", "status"],
                include=["score", "maximum"],
                name="assessments_session_figures",
            ),
            # The newest first, those without a value last: what the table asks for.
            NullsLastIndex(
                F("account_id"),
                F("started_at").desc(nulls_last=True),
                F("id").desc(),
                name="assessments_session_taken",
            ),
            NullsLastIndex(
                F("account_id"),
                F("score").desc(nulls_last=True),
                F("id").desc(),
                name="assessments_session_score",
            ),
            # What the periodic sweep looks for; both are empty when nothing is under way.
            models.Index(
                fields=["deadline"],
                condition=Q(status="started"),
                name="assessments_session_running",
            ),
            models.Index(
                fields=["judge_asked_at"],
                condition=Q(status="finished"),
                name="assessments_session_unjudged",
            ),
        ]

    def __str__(self) -> str:
        return f"session {self.code}"

    @property
    def percent(self) -> int | None:
        """The result in per cent, None before judging or where nothing could be reached."""
        if self.score is None or not self.maximum:
            return None
        return round(100 * self.score / self.maximum)


class Answer(ShardedModel):
    """What the candidate submitted for one task, and how it was judged.

    Not cached: an output may have a megabyte, and is read by few and seldom.
    """

    session = models.ForeignKey(
        TestSession, on_delete=models.CASCADE, related_name="answers", db_index=False
    )
    task = models.ForeignKey(Task, on_delete=models.PROTECT, related_name="+", db_index=False)
    output = models.TextField(blank=True)
    submitted_at = models.DateTimeField(default=timezone.now)
    correctness = models.PositiveSmallIntegerField(null=True, blank=True, help_text="per cent")
    performance = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="per cent; empty: not assessed"
    )
    score = models.PositiveSmallIntegerField(null=True, blank=True, help_text="points")

    class Meta(ShardedModel.Meta):
        constraints = [
            *ShardedModel.Meta.constraints,
            models.UniqueConstraint(fields=["session", "task"], name="assessments_answer_once"),
        ]

    def __str__(self) -> str:
        return f"answer to task {self.task_id} in session {self.session_id}"

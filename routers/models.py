"""The three kinds of model, and the stored shard map."""

from typing import Any, ClassVar

from django.db import models

from routers.conf import CATALOG
from routers.guards import own, stamp
from routers.keys import KeyField
from routers.managers import AccountManager, AccountQuerySet
from routers.placement import Placement
from routers.reference.query import ReferenceCollector, ReferenceManager, refuse_copy
from routers.shard_map import ShardMap

__all__ = ["GlobalModel", "MapVersion", "MigrationRecord", "Move", "ReferenceModel", "ShardedModel"]


class GlobalModel(models.Model):
    """In the catalog only. (Any other model that is not of these three kinds counts as global.)"""

    class Meta:
        abstract = True


class ReferenceModel(models.Model):
    """Small, read everywhere, written in the catalog; a copy on every shard."""

    routers_placement = Placement.REFERENCE

    objects: ClassVar[ReferenceManager] = ReferenceManager()

    class Meta:
        abstract = True

    def save_base(
        self,
        raw: bool = False,
        force_insert: Any = False,
        force_update: bool = False,
        using: str | None = None,
        update_fields: Any = None,
    ) -> None:
        refuse_copy(type(self), using)
        super().save_base(raw, force_insert, force_update, using or CATALOG, update_fields)

    def delete(self, using: Any = None, keep_parents: bool = False) -> tuple[int, dict[str, int]]:
        """Raises ProtectedError, naming shard and model, where a shard's rows refer to this one."""
        refuse_copy(type(self), using)
        if self.pk is None:
            raise ValueError(f"{self._meta.label} was never saved: there is nothing to delete.")
        collector = ReferenceCollector(using=CATALOG, origin=self)
        collector.collect([self], keep_parents=keep_parents)
        return collector.delete()


class ShardedModel(models.Model):
    """A row of one account, on that account's shard.

    A model with a Meta of its own inherits this one's: `class Meta(ShardedModel.Meta):`. The unique
    pair (account_id, id) is the table's replica identity, so that one account's rows can be
    replicated by themselves.
    """

    routers_placement = Placement.SHARDED

    id = KeyField(primary_key=True)
    account_id = models.BigIntegerField(editable=False)

    objects: ClassVar[AccountManager] = AccountManager()
    account_rows: ClassVar[AccountManager] = AccountManager()  # all of them, whatever `objects` is

    class Meta:
        abstract = True
        base_manager_name = "account_rows"
        default_manager_name = "objects"
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["account_id", "id"], name="%(app_label)s_%(class)s_account_row"
            )
        ]

    def save(self, *args: Any, **kwargs: Any) -> None:
        stamp(self, kwargs.get("using"))
        super().save(*args, **kwargs)

    def delete(self, using: Any = None, keep_parents: bool = False) -> tuple[int, dict[str, int]]:
        """As Django's, once the row is found among the account's: Django looks at the key alone."""
        own(self, using)
        mine: AccountQuerySet[Any] = AccountQuerySet(type(self)).filter(pk=self.pk)
        if self.pk is not None and not mine.exists():
            return 0, {}
        mine._writes()
        return super().delete(mine.db, keep_parents)


class MapVersion(GlobalModel):
    """One version of the shard map. Rows are only ever added; the highest version is in force."""

    version = models.PositiveIntegerField(primary_key=True)
    slots = models.JSONField(help_text="[[first slot, shard], …], one pair a run")
    pins = models.JSONField(default=dict, help_text="{account id: shard}")
    reason = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"shard map {self.version}: {self.reason}"

    def to_map(self) -> ShardMap:
        """The immutable snapshot of this version."""
        pins = {int(account): shard for account, shard in self.pins.items()}
        return ShardMap.from_runs(self.slots, pins, self.version)


class MigrationRecord(GlobalModel):
    """What one run of `migrate_shards` did to one database. Written by `routers.migrating.ledger`.

    A row that says running belongs to a run that lives, or to one that was killed: the ledger tells
    the two apart.
    """

    class Outcome(models.TextChoices):
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"
        INTERRUPTED = "interrupted"

    run = models.CharField(max_length=32)
    process = models.CharField(max_length=200, help_text="host:pid of the run")
    database = models.CharField(max_length=100)
    phase = models.CharField(max_length=10)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=12, choices=Outcome, default=Outcome.RUNNING)
    applied = models.JSONField(default=list, help_text='["app.0001_initial", …]')
    error = models.TextField(default="")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["run", "database"], name="routers_migrationrecord_once")
        ]

    def __str__(self) -> str:
        return f"run {self.run} on {self.database}: {self.outcome}"


class Move(GlobalModel):
    """The journal of one account's move. Written by `routers.moving.journal`.

    What it says is for people: the truth is what the two shards say of the account. A row without
    `finished_at` belongs to a move that is under way, was killed, or whose old copy is kept.
    """

    class Outcome(models.TextChoices):
        RUNNING = "running"
        KEPT = "kept"
        DONE = "done"
        UNDONE = "undone"

    account_id = models.BigIntegerField(db_index=True)
    source = models.CharField(max_length=100)
    target = models.CharField(max_length=100)
    keep = models.BooleanField(default=False, help_text="whether the way back is kept open")
    process = models.CharField(max_length=200, help_text="host:pid of the mover")
    step = models.CharField(max_length=20, default="begun")
    outcome = models.CharField(max_length=10, choices=Outcome, default=Outcome.RUNNING)
    began_at = models.DateTimeField(auto_now_add=True)
    moved_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    rows = models.BigIntegerField(default=0)
    bytes = models.BigIntegerField(default=0)
    copy_seconds = models.FloatField(default=0)
    pause_ms = models.FloatField(default=0, help_text="from asking for the fence to the new owner")
    error = models.TextField(default="")

    class Meta:
        db_table = "routers_move"
        constraints = [
            models.UniqueConstraint(
                fields=["account_id"],
                condition=models.Q(finished_at=None),
                name="routers_move_unfinished_once",
            )
        ]

    def __str__(self) -> str:
        return f"account {self.account_id} from {self.source} to {self.target}: {self.step}"

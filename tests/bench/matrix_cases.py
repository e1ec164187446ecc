"""Cases of the matrix where readers and writers overlap, an account moves, or keys are the same.

Nothing is left to luck: who stands still is held at a point by the case, until it lets it go on.
"""

from collections.abc import Callable
from contextlib import ExitStack, closing
from threading import Event
from time import monotonic
from typing import Any

from django.db import connections

from tests.bench.matrix_side import ACCOUNTS, HOME, OTHER
from tests.bench.matrix_stage import Stage
from tests.bench.matrix_threads import DEADLINE, Paused, points
from tests.bench.matrix_writes import atomic, saved, saved_in_transaction

__all__ = ["OVERLAPS", "PLACES"]

WAITING = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


def fill_across_autocommit(stage: Stage) -> None:
    _fill_across(stage, saved)


def fill_across_transaction(stage: Stage) -> None:
    _fill_across(stage, saved_in_transaction)


def _fill_across(stage: Stage, write: Callable[[Stage], object]) -> None:
    """Readers have read the old row, and are about to keep it."""
    stage.warm()
    saved(stage, title="old again")  # nothing valid of it is kept now

    def fill(question: str) -> Callable[[Any], object]:
        def work(stand: Any) -> None:
            points.after_select = stand
            stage.ask(question)

        return work

    with ExitStack() as readers:
        for question in ("get", "list"):
            readers.enter_context(Paused(stage.side, fill(question)))
        write(stage)
    stage.check()


def readers_before_commit(stage: Stage) -> None:
    """They see, and may keep, what was before: after the statement, and in the last instant."""
    stage.warm()

    def write(stand: Any) -> None:
        with atomic(stage):
            saved(stage, title="first")
            stand()

    def write_and_wait(stand: Any) -> None:
        points.before_commit = stand
        saved_in_transaction(stage)

    for work in (write, write_and_wait):
        with Paused(stage.side, work):
            stage.check()
            stage.check()
        stage.check()


def readers_after_commit(stage: Stage) -> None:
    """PostgreSQL has committed, and the writer has not done anything since."""
    stage.warm()

    def write(stand: Any) -> None:
        points.after_commit = stand
        saved_in_transaction(stage)

    with Paused(stage.side, write):
        stage.check()
    stage.check()


def readers_during_slow_update(stage: Stage) -> None:
    """An UPDATE in autocommit waits for a lock, and readers come while it does."""
    stage.warm()

    def write(stand: Any) -> None:
        one = stage.side.rows("Book").get(pk=1)
        one.title = "new"
        stand()
        one.save()

    with Paused(stage.side, write) as writer, closing(stage.connect()) as holder:
        holder.autocommit = False
        holder.cursor().execute("SELECT 1 FROM matrix_book WHERE id = 1 FOR UPDATE")
        writer.go()
        _until_somebody_waits(stage)
        stage.check()
        stage.check()
        holder.rollback()
    stage.check()


def _until_somebody_waits(stage: Stage) -> None:
    until = monotonic() + DEADLINE
    while stage.sql(stage.side.alias, WAITING)[0][0] == 0:
        if monotonic() > until:
            raise TimeoutError("no UPDATE waits for the lock")
        Event().wait(0.01)


def overlapping_writers(stage: Stage) -> None:
    """Two begin and end while a third one is about to commit, and readers come in between."""
    stage.warm()

    def write(stand: Any) -> None:
        points.before_commit = stand
        saved_in_transaction(stage)

    with Paused(stage.side, write):
        for key in (2, 3):
            saved_in_transaction(stage, key)
            stage.check()
    stage.check()


def fill_from_old_snapshot(stage: Stage) -> None:
    """REPEATABLE READ: what is read there is old for everybody else."""
    stage.warm()

    def read(stand: Any) -> None:
        with atomic(stage):
            with connections[stage.side.alias].cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                cursor.execute("SELECT 1")
            stand()
            for question in ("get", "list"):
                stage.ask(question)

    with Paused(stage.side, read):
        saved(stage)
    stage.check()


def same_keys_on_two_shards(stage: Stage) -> None:
    stage.warm()
    with stage.side.on(OTHER):
        stage.warm()
        stage.check()
        saved(stage, title="theirs")
        stage.check()
    stage.check()
    saved(stage, title="ours")
    stage.check()
    with stage.side.on(OTHER):
        stage.check()


def moved_and_back(stage: Stage) -> None:
    """Its rows are copied past Django, as replication does."""
    here, there = ACCOUNTS[HOME], ACCOUNTS[OTHER]
    stage.empty(there)
    stage.warm()
    stage.copy(here, there)
    stage.side.move(HOME, there)
    stage.check()
    saved(stage, title="there")
    stage.warm()
    stage.copy(there, here)
    stage.side.move(HOME, here)
    stage.check()


OVERLAPS: dict[str, Callable[[Stage], None]] = {
    "a fill paused across a commit, autocommit": fill_across_autocommit,
    "a fill paused across a commit, transaction": fill_across_transaction,
    "readers between save() and COMMIT": readers_before_commit,
    "readers between COMMIT and settling": readers_after_commit,
    "readers during a slow UPDATE, autocommit": readers_during_slow_update,
    "three writers overlap": overlapping_writers,
    "a late fill from a REPEATABLE READ snapshot": fill_from_old_snapshot,
}
PLACES: dict[str, Callable[[Stage], None]] = {
    "two shards with equal keys": same_keys_on_two_shards,
    "an account moved to another shard and back": moved_and_back,
}

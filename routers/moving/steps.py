"""The steps of a move, in their order. Why they are safe: see the package."""

import random
import time
from dataclasses import dataclass, field
from typing import Protocol

from django.db import Error
from django.utils import timezone

from routers.direct import lock_not_had
from routers.models import Move
from routers.moving import journal
from routers.moving.catching_up import Tables, carry_noted, catch_up, forget_noted
from routers.moving.comparing import compare
from routers.moving.copying import Pace, copy_table, delete_rows
from routers.moving.errors import MoveRefused
from routers.moving.plan import refuse_states
from routers.moving.settling import speed_up, take_over
from routers.moving.side import Side
from routers.moving.tables import tables_of
from routers.ownership import changing
from routers.ownership.states import State

__all__ = ["STEPS", "Mover", "Nobody", "Options", "Watcher"]

STEPS = (
    *("begun", "incoming", "emptied", "captured", "waited", "copied", "compared", "caught up"),
    *("fenced", "replayed", "given up", "owned", "published", "cleaned"),
)
UNFENCED = frozenset(STEPS[:8])  # the journal has no part in the pause
PAUSE_SECONDS = (0.02, 0.1)  # between tries for the fence, random so as not to follow a beat


class Watcher(Protocol):
    """Who is told how a move goes on."""

    def at(self, step: str) -> None:
        """A step of STEPS is done."""

    def copied(self, size: int) -> None:
        """So many bytes more."""


class Nobody:
    """Who is not told."""

    def at(self, step: str) -> None: ...

    def copied(self, size: int) -> None: ...


@dataclass(frozen=True)
class Options:
    """`keep`: keep the old copy and note what changes, for `move_back`, until `settle` is told to
    release it. `clean`: delete the old copy here, after OWNER_SECONDS. `wait`: seconds for other
    transactions of the source to end. `fence`: only a test's negative control moves without.
    """

    keep: bool = False
    clean: bool = True
    wait: float = 60.0
    pace: Pace = field(default_factory=Pace)
    fence_milliseconds: int = 100
    fence_tries: int = 50
    fence: bool = True


@dataclass
class Mover:
    """One move under way: both ends, with the right to move."""

    row: Move
    source: Side
    target: Side
    options: Options
    watcher: Watcher
    tables: Tables = field(default_factory=dict)

    def at(self, step: str) -> None:
        if step in UNFENCED:
            journal.note(self.row, step=step)
        self.watcher.at(step)

    def prepare(self) -> None:
        """Both sessions may write past triggers; the tables by their columns of now."""
        for side in (self.source, self.target):
            side.past_triggers()
        with self.source.transaction() as cursor:
            self.tables = {table.plain_name: table for table in tables_of(cursor)}

    def copy(self) -> None:
        """All rows of one instant at the source to the target, compared there."""
        refuse_states(self.source, self.target)  # again, now that nobody else may move it
        began = time.monotonic()
        with self.target.transaction():
            self.target.set_state(State.INCOMING)
        self.at("incoming")
        delete_rows(self.target, self.tables.values(), State.INCOMING)
        self.at("emptied")
        forget_noted(self.source)
        with self.source.transaction():
            self.source.set_state(State.CAPTURED)
        self.at("captured")
        self.source.wait_for_earlier(self.options.wait)
        self.at("waited")
        with self.source.transaction(snapshot=True):
            for table in self.tables.values():
                with self.target.transaction():
                    tell = self.watcher.copied
                    copy_table(self.source, self.target, table, self.options.pace, tell)
            self.at("copied")
            with self.target.transaction(snapshot=True):
                rows = compare(self.source, self.target, self.tables.values())
            self.at("compared")
        self.row.copy_seconds = time.monotonic() - began
        journal.note(self.row, rows=rows, copy_seconds=self.row.copy_seconds)
        catch_up(self.source, self.target, self.tables)
        self.at("caught up")

    def return_(self) -> None:
        """The kept copy as of now: what was noted since the account left it, then compared."""
        with self.target.transaction():
            self.target.set_state(State.INCOMING)
        self.at("incoming")
        catch_up(self.source, self.target, self.tables)
        with self.source.transaction(snapshot=True):
            carry_noted(self.source, self.target, self.tables)
            with self.target.transaction(snapshot=True):
                compare(self.source, self.target, self.tables.values())
        self.at("compared")
        catch_up(self.source, self.target, self.tables)
        self.at("caught up")

    def switch(self) -> None:
        """The fence, the last keys, and the one commit that changes the owner."""
        for _ in range(self.options.fence_tries):
            began = time.monotonic()
            try:
                self._give_up()
                break
            except Error as error:
                if not lock_not_had(error):
                    raise
                time.sleep(random.uniform(*PAUSE_SECONDS))  # noqa: S311
                catch_up(self.source, self.target, self.tables)
        else:
            milliseconds = self.options.fence_milliseconds
            raise MoveRefused(
                f"In {self.options.fence_tries} tries of {milliseconds} ms account "
                f"{self.row.account_id} always had a transaction open on {self.row.source}. Run "
                f"again when it is quieter, or with a longer --fence."
            )
        self.at("given up")
        take_over(self.row, self.target)
        pause = (time.monotonic() - began) * 1000
        self.at("owned")
        speed_up(self.row, self.target)
        journal.note(self.row, step="owned", pause_ms=pause, moved_at=timezone.now())

    def _give_up(self) -> None:
        with self.source.transaction() as cursor:
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = '10s'")
            if self.options.fence:
                changing.fence(cursor, self.row.account_id, self.options.fence_milliseconds)
            self.at("fenced")
            carry_noted(self.source, self.target, self.tables)
            self._require_target()
            self.at("replayed")
            self.source.set_state(State.MOVED, self.row.target)

    def _require_target(self) -> None:
        """Give nothing up for a server that has gone away since it was last written to."""
        with self.target.transaction():
            state = self.target.state()[0]
        if state is not State.INCOMING:
            raise MoveRefused(
                f"{self.target.alias} says {state} of account {self.row.account_id} in the middle "
                f"of its move. `manage.py shards check` shows where it is."
            )

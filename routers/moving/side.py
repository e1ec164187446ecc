"""What a mover does on one shard: transactions, what the shard says of the account, waiting."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from routers.moving.errors import MoveRefused
from routers.ownership import changing
from routers.ownership.states import State
from routers.shard_map import SLOTS

__all__ = ["POLL_SECONDS", "Side"]

POLL_SECONDS = 0.005
# Others that move read long, and write no account's rows.
MOVERS = """
    SELECT virtualtransaction FROM pg_locks JOIN pg_stat_activity a USING (pid)
    WHERE locktype = 'virtualxid' AND a.usename = current_user AND application_name LIKE 'move %'
"""
BUSY = """
    SELECT DISTINCT pid, coalesce(nullif(application_name, ''), usename), xact_start
    FROM pg_locks JOIN pg_stat_activity a USING (pid)
    WHERE virtualtransaction = ANY (%s) ORDER BY xact_start LIMIT 3
"""


class Side:
    """A shard's session. `cursor` is psycopg2's; nothing is committed but by `transaction`, which
    raises Django's errors.
    """

    def __init__(self, alias: str, account_id: int, wrapper: BaseDatabaseWrapper) -> None:
        self.alias, self.account_id, self._wrapper = alias, account_id, wrapper
        self.connection: Any = wrapper.connection
        self.connection.autocommit = False
        self.cursor = self.connection.cursor()

    @contextmanager
    def transaction(self, *, snapshot: bool = False) -> Iterator[Any]:
        """Commit at the block's end. With `snapshot` it sees one instant throughout."""
        level = "REPEATABLE READ" if snapshot else "READ COMMITTED"
        self.connection.set_session(isolation_level=level)  # sent with the next BEGIN
        with self._wrapper.wrap_database_errors, self.connection:  # commits, or rolls back
            yield self.cursor

    def rows(self, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        self.cursor.execute(sql, parameters)
        found: list[tuple[Any, ...]] = self.cursor.fetchall()
        return found

    def past_triggers(self) -> None:
        """From now on, triggers and foreign keys do not look at what this session writes."""
        with self.transaction():
            [(may, role)] = self.rows(
                "SELECT has_parameter_privilege('session_replication_role', 'SET'), current_user"
            )
            if not may:
                raise MoveRefused(
                    f"{role} may not write past triggers on {self.alias}. As a superuser there: "
                    f"GRANT SET ON PARAMETER session_replication_role TO {role}."
                )
            self.cursor.execute("SET session_replication_role = replica")

    def state(self) -> tuple[State | None, str | None]:
        """What the shard says of the account itself: (None, None) where it is as its slot is."""
        found = self.rows(
            "SELECT state, moved_to FROM routers_owner_account WHERE account_id = %s",
            [self.account_id],
        )
        return (State(found[0][0]), found[0][1]) if found else (None, None)

    def slot(self) -> tuple[State | None, str | None]:
        """What it says of the account's slot; (None, None) where it was never told."""
        found = self.rows(
            "SELECT state, moved_to FROM routers_owner_slot WHERE slot = %s",
            [self.account_id % SLOTS],
        )
        return (State(found[0][0]), found[0][1]) if found else (None, None)

    def in_force(self) -> tuple[State, str | None]:
        """What holds for the account: its own row, else its slot's, else it is owned."""
        own = self.state()
        state, moved_to = own if own[0] else self.slot()
        return state or State.OWNER, moved_to

    def set_state(self, state: State, moved_to: str | None = None) -> None:
        changing.set_account(self.cursor, self.account_id, state, moved_to)

    def take(self, *, noting: bool) -> None:
        """Owner from now on, by look-up; with `noting`, each change is noted from the first."""
        changing.set_account(self.cursor, self.account_id, State.OWNER, compiled=False)
        if noting:
            changing.set_account(self.cursor, self.account_id, State.CAPTURED, compiled=False)

    def own(self) -> None:
        """Owner, by the account's slot where that is enough: writes are checked fast again."""
        if self.slot()[0] in (State.OWNER, None):
            changing.forget_account(self.cursor, self.account_id)
        else:
            self.set_state(State.OWNER)

    def give_up(self, home: str) -> None:
        """The account is at `home`: by its slot where that is enough."""
        if self.slot() == (State.MOVED, home):
            changing.forget_account(self.cursor, self.account_id)
        else:
            self.set_state(State.MOVED, home)

    def redirect(self, home: str) -> None:
        """Where the account left this shard in an earlier move: it is at `home` now."""
        if self.state()[0] is State.MOVED and self.slot()[0] is State.MOVED:
            changing.forget_account(self.cursor, self.account_id)
        else:
            changing.redirect_account(self.cursor, self.account_id, home)

    def wait_for_earlier(self, seconds: float) -> None:
        """Until all transactions that are open now have ended. Raises MoveRefused."""
        until = time.monotonic() + seconds
        with self.transaction():
            left = changing.transactions(self.cursor)
        while left:
            with self.transaction():
                left = changing.still_open(self.cursor, left) - {
                    name for (name,) in self.rows(MOVERS)
                }
                if left and time.monotonic() > until:
                    busy = "; ".join(
                        f"process {pid} ({name}) since {since}"
                        for pid, name, since in self.rows(BUSY, [list(left)])
                    )
                    raise MoveRefused(
                        f"On {self.alias} transactions are open for more than {seconds:g} s, which "
                        f"the move has to see the end of: {busy}. Let them end and run again, or "
                        f"wait longer with --wait."
                    )
            if left:
                time.sleep(POLL_SECONDS)

"""The changes of ownership on one shard: the only code that writes its tables.

Each takes a cursor on PostgreSQL itself or through a pooler, inside a transaction of the caller's:
they hold until its end. What follows from what, and what has to be waited for: see the package.
"""

from typing import Any

from routers.exceptions import RoutingError
from routers.ownership.states import State, account_key, slot_key

__all__ = [
    "NotAllowed",
    "capture_slot",
    "compile_open",
    "fence",
    "fence_slot",
    "forget_account",
    "redirect_account",
    "set_account",
    "set_slots",
    "still_open",
    "transactions",
]

# From (None: no row) → to. A move back begins at MOVED.
ALLOWED = {
    None: {State.OWNER, State.CAPTURED, State.INCOMING, State.MOVED},
    State.OWNER: {State.CAPTURED, State.MOVED},
    State.CAPTURED: {State.OWNER, State.MOVED},
    State.MOVED: {State.INCOMING, State.OWNER},
    State.INCOMING: {State.OWNER, State.MOVED},
}

# Whoever began before a change may not have seen it. An own transaction is never waited for. Of
# other roles' sessions PostgreSQL tells no backend_type to a role without pg_read_all_stats: they
# count; autovacuum and its like have no usesysid.
TRANSACTIONS = """
    SELECT virtualtransaction FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE locktype = 'virtualxid' AND granted AND mode = 'ExclusiveLock'
      AND a.datname = current_database() AND a.usesysid IS NOT NULL
      AND coalesce(a.backend_type, 'client backend') = 'client backend'
      AND pid <> pg_backend_pid()
"""


class NotAllowed(RoutingError):
    """A change of state that leads nowhere good."""


def set_account(
    cursor: Any,
    account_id: int,
    state: State,
    moved_to: str | None = None,
    *,
    compiled: bool = True,
) -> int:
    """Change an account's state; its new epoch. Raises NotAllowed. `moved_to`: with MOVED.

    To MOVED only under `fence`, or for an account that has no rows here. Not `compiled`: an account
    that becomes OWNER is looked up until `compile_open`, which may come later.
    """
    cursor.execute(
        "SELECT state, epoch FROM routers_owner_account WHERE account_id = %s FOR UPDATE",
        [account_id],
    )
    found = cursor.fetchone()
    before, epoch = (State(found[0]), int(found[1])) if found else (None, 0)
    if before is state:
        return epoch
    if state not in ALLOWED[before]:
        raise NotAllowed(
            f"Account {account_id} is {before} here and cannot become {state}. `manage.py shards "
            f"check` shows where it is."
        )
    cursor.execute(
        "INSERT INTO routers_owner_account (account_id, state, epoch, moved_to)"
        " VALUES (%s, %s, %s, %s) ON CONFLICT (account_id) DO UPDATE SET"
        " state = excluded.state, epoch = excluded.epoch, moved_to = excluded.moved_to",
        [account_id, str(state), epoch + 1, moved_to if state is State.MOVED else None],
    )
    # The constants name the owned accounts among those with a row, and slots without any row.
    if compiled and (before is None or State.OWNER in (before, state)):
        compile_open(cursor)
    return epoch + 1


def redirect_account(cursor: Any, account_id: int, moved_to: str) -> None:
    """An account that has moved away from here before is on another shard now."""
    cursor.execute(
        "UPDATE routers_owner_account SET moved_to = %s, epoch = epoch + 1"
        " WHERE account_id = %s AND state = 'moved' AND moved_to <> %s",
        [moved_to, account_id, moved_to],
    )


def forget_account(cursor: Any, account_id: int) -> None:
    """Take an account's row away: from now on it is what its slot is."""
    cursor.execute("DELETE FROM routers_owner_account WHERE account_id = %s", [account_id])
    compile_open(cursor)


def set_slots(cursor: Any, homes: dict[int, str | None]) -> None:
    """Slot → the shard that it went to, or None: it is this one's. To MOVED under `fence_slot`."""
    slots, shards = list(homes), list(homes.values())
    cursor.execute(
        "INSERT INTO routers_owner_slot (slot, state, moved_to)"
        " SELECT slot, CASE WHEN shard IS NULL THEN 'owner' ELSE 'moved' END, shard"
        " FROM unnest(%s::integer[], %s::text[]) AS given(slot, shard)"
        " ON CONFLICT (slot) DO UPDATE SET state = excluded.state, moved_to = excluded.moved_to,"
        " epoch = routers_owner_slot.epoch + 1"
        " WHERE (routers_owner_slot.state, routers_owner_slot.moved_to)"
        " IS DISTINCT FROM (excluded.state, excluded.moved_to)",
        [slots, shards],
    )
    compile_open(cursor)


def capture_slot(cursor: Any, slot: int) -> None:
    """As CAPTURED of an account, for those of a slot's that have no row of their own."""
    cursor.execute(
        "UPDATE routers_owner_slot SET state = 'captured', epoch = epoch + 1"
        " WHERE slot = %s AND state = 'owner'",
        [slot],
    )
    compile_open(cursor)


def compile_open(cursor: Any) -> None:
    """Make the constants of the fast check from the tables, where they are not right already."""
    cursor.execute("SELECT routers_compile_owner()")


def fence(cursor: Any, account_id: int, milliseconds: int = 100) -> None:
    """Wait for the account's writers and keep new ones out until the transaction ends.

    Raises Django's or the driver's error with SQLSTATE 55P03 when the time is over.
    """
    _lock(cursor, account_key(account_id), milliseconds)


def fence_slot(cursor: Any, slot: int, milliseconds: int = 100) -> None:
    """As `fence`, for those of a slot's accounts that have no row of their own."""
    _lock(cursor, slot_key(slot), milliseconds)


def _lock(cursor: Any, key: int, milliseconds: int) -> None:
    cursor.execute(f"SET LOCAL lock_timeout = {int(milliseconds)}")
    cursor.execute("SELECT pg_advisory_xact_lock(%s)", [key])


def transactions(cursor: Any) -> set[str]:
    """The transactions of this database's clients that are open now, by their virtual ids."""
    cursor.execute(TRANSACTIONS)
    return {name for (name,) in cursor.fetchall()}


def still_open(cursor: Any, earlier: set[str]) -> set[str]:
    """Those of the earlier ones that have not ended yet."""
    return earlier & transactions(cursor)

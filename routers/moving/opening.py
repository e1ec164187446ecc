"""One end of a move: a session on a shard's own PostgreSQL, which holds the right to move.

The right is a pair of advisory locks of that session: on the account (one mover), and, shared, on
the shard's migrations (none meanwhile). Whatever the mover does on a shard it does in this session,
so a mover that lost it can do nothing more there, and the next one may begin.
"""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

from django.db import connections

from routers.direct import LOCK_CLASS, MIGRATING, introduce, refuse_pooler
from routers.moving.errors import MoveRefused
from routers.moving.side import POLL_SECONDS, Side

__all__ = ["both", "open_side"]

MOVE_SPACE = 0x6D6F766500000000  # "move" in the upper half
# Values as text are the same on both sides, and what is committed is on disk.
SESSION = """
    SET timezone = 'UTC'; SET datestyle = 'ISO'; SET intervalstyle = 'postgres';
    SET extra_float_digits = 1; SET lock_timeout = 0; SET statement_timeout = 0;
    SET idle_in_transaction_session_timeout = 0;
    SELECT set_config('synchronous_commit', 'on', false)
    WHERE current_setting('synchronous_commit') IN ('off', 'local');
"""


@contextmanager
def open_side(
    alias: str, account_id: int, patience: float = 0, *, lock: bool = True
) -> Iterator[Side]:
    """A new session; with `lock`, with the right to move (waited for so long), or MoveRefused."""
    wrapper = connections[alias].copy()
    if wrapper.vendor != "postgresql":
        raise MoveRefused(f"{alias} is {wrapper.display_name}: accounts move between PostgreSQLs.")
    with closing(wrapper):
        refuse_pooler(wrapper)
        introduce(wrapper, f"move {account_id}")
        side = Side(alias, account_id, wrapper)
        with side.transaction():
            side.cursor.execute(SESSION)
        if lock:
            _take_locks(side, time.monotonic() + patience)
        yield side


@contextmanager
def both(
    source: str, target: str, account_id: int, patience: float = 0
) -> Iterator[tuple[Side, Side]]:
    """The two ends with the right to move, locked in the order of their names."""
    first, second = sorted((source, target))
    with (
        open_side(first, account_id, patience) as one,
        open_side(second, account_id, patience) as other,
    ):
        yield (one, other) if first == source else (other, one)


def _take_locks(side: Side, until: float) -> None:
    while not _granted(side, "pg_try_advisory_lock(%s)", side.account_id ^ MOVE_SPACE):
        if time.monotonic() > until:
            raise MoveRefused(
                f"Account {side.account_id} is being moved by another process: {side.alias} has "
                f"its lock. Let it finish."
            )
        time.sleep(POLL_SECONDS)
    if not _granted(side, "pg_try_advisory_lock_shared(%s, %s)", LOCK_CLASS, MIGRATING):
        raise MoveRefused(f"{side.alias} is being migrated. Let that finish and run again.")


def _granted(side: Side, lock: str, *key: int) -> bool:
    with side.transaction():
        return bool(side.rows(f"SELECT {lock}", key)[0][0])

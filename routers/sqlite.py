"""The key function of SQLite shards: there a function lives in a connection, not in the database.

Processes that share a file each hold a lane of their own, by a lock on a small file beside it: five
bits of a key's sequence are the lane, eight count within a millisecond. Up to 32 processes at once
can therefore insert into one shard, and never make a key twice.
"""

import fcntl
import os
import threading
import time
from pathlib import Path
from typing import IO

from django.db.backends.base.base import BaseDatabaseWrapper

from routers.conf import settings
from routers.exceptions import RoutingError
from routers.keys import FUNCTION, SEQUENCE_BITS, make_key

__all__ = ["SqliteKeys", "register_key_function"]

LANE_BITS = 5
LANES, KEYS_A_MS = 2**LANE_BITS, 2 ** (SEQUENCE_BITS - LANE_BITS)


class SqliteKeys:
    """The keys that this process makes for one shard: after its last one, or by the clock."""

    def __init__(self, shard_number: int, database: str) -> None:
        self.number = shard_number
        self.lane, self._lane_file = _take_lane(database)
        self._lock = threading.Lock()
        # Begins in the next millisecond: who had the lane before may have used up this one.
        self._ms, self._count = _now_ms(), KEYS_A_MS

    def next_key(self) -> int:
        """A key that no other thread or process makes. Waits for the clock, and never runs ahead.

        Only a clock that was set back is not waited for.
        """
        with self._lock:
            while (now := _now_ms()) == self._ms and self._count == KEYS_A_MS:
                time.sleep(0.0001)
            if now > self._ms:
                self._ms, self._count = now, 0
            elif self._count == KEYS_A_MS:
                self._ms, self._count = self._ms + 1, 0
            sequence = self.lane * KEYS_A_MS + self._count
            self._count += 1
            return make_key(self._ms, self.number, sequence)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


_keys: dict[str, SqliteKeys] = {}


def register_key_function(
    sender: object, connection: BaseDatabaseWrapper, **kwargs: object
) -> None:
    """Django's `connection_created`: give a SQLite shard the key function by its name."""
    number = settings().shards.get(connection.alias)
    if connection.vendor != "sqlite" or number is None:
        return
    if connection.alias not in _keys:
        _keys[connection.alias] = SqliteKeys(number, str(connection.settings_dict["NAME"]))
    connection.connection.create_function(FUNCTION, 0, _keys[connection.alias].next_key)


def _take_lane(database: str) -> tuple[int, IO[bytes] | None]:
    """A lane that no living process holds, and the open file whose lock says so."""
    if "memory" in database:
        return 0, None  # a database in memory is this process's alone
    for lane in range(LANES):
        try:
            file = Path(f"{database}.lane{lane:02}").open("ab")  # noqa: SIM115 - held while we live
        except PermissionError:
            continue  # another user's
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
        else:
            return lane, file
    raise RoutingError(
        f"{LANES} processes use {database} already. Stop one of them, or run on PostgreSQL."
    )


# A forked child must not go on in its parent's lane.
os.register_at_fork(after_in_child=_keys.clear)

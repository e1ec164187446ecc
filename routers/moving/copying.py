"""Rows from one shard to another, and rows away."""

import io
import os
import threading
import time
from collections.abc import Callable, Collection
from typing import Any

from routers.moving.errors import MoveRefused
from routers.moving.side import Side
from routers.moving.tables import MovedTable
from routers.ownership.states import State

__all__ = ["Pace", "copy_keys", "copy_table", "delete_keys", "delete_rows", "keyed"]

CHUNK = 2**20
BATCH_ROWS = 5_000
UNIQUE_VIOLATION = "23505"
Tell = Callable[[int], None]


class Pace:
    """At most so many bytes a second, over all moves that share it; None: as fast as it goes."""

    def __init__(self, bytes_a_second: float | None = None) -> None:
        self._rate, self._lock = bytes_a_second, threading.Lock()
        self._free_at = time.monotonic()

    def wait(self, size: int) -> None:
        """Return when that many bytes more may pass."""
        if self._rate is None:
            return
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now) + size / self._rate
            seconds = self._free_at - now
        time.sleep(seconds)


class _Reading(io.RawIOBase):
    """What psycopg2 reads from: a pipe's end, paced and counted."""

    def __init__(self, pipe: Any, pace: Pace, tell: Tell) -> None:
        self._pipe, self._pace, self._tell = pipe, pace, tell

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._pipe.read(size)
        self._pace.wait(len(data))
        self._tell(len(data))
        return data


def copy_table(source: Side, target: Side, table: MovedTable, pace: Pace, tell: Tell) -> int:
    """All of the account's rows, within the transactions that are open; how many."""
    given, taken = os.pipe()
    failed: list[BaseException] = []

    def send() -> None:
        try:
            with os.fdopen(taken, "wb", buffering=CHUNK) as pipe:
                _send(source, table, pipe)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=send, name="routers-copy")
    thread.start()
    try:
        with os.fdopen(given, "rb", buffering=CHUNK) as pipe:
            _receive(target, table, _Reading(pipe, pace, tell))
    finally:
        thread.join()  # without a reader its pipe breaks
    # A stream that breaks off looks to PostgreSQL like one that ends.
    if failed:
        raise failed[0]
    _same_number(source, target, table)
    return int(target.cursor.rowcount)


def copy_keys(source: Side, target: Side, table: MovedTable, ids: Collection[int]) -> None:
    """The account's rows with these ids, within the transactions that are open."""
    memory = io.BytesIO()
    _send(source, table, memory, keyed(ids))
    memory.seek(0)
    _receive(target, table, memory)
    _same_number(source, target, table)


def delete_keys(side: Side, table: MovedTable, ids: Collection[int]) -> None:
    """Delete the account's rows with these ids, within the transaction that is open."""
    side.cursor.execute(
        f"DELETE FROM {table.name} WHERE account_id = %s{keyed(ids)}",  # noqa: S608
        [side.account_id],
    )


def delete_rows(side: Side, tables: Collection[MovedTable], while_state: State) -> int:
    """Delete the account's rows in batches, each while the shard still says that state; how many.

    Raises MoveRefused where it says another.
    """
    deleted = 0
    for table in tables:
        last: int | None = -(2**63) + 1
        while last is not None:
            with side.transaction():
                _require(side, while_state)
                number, last = _delete_batch(side, table, last)
            deleted += number
    return deleted


def _delete_batch(side: Side, table: MovedTable, after: int) -> tuple[int, int | None]:
    """How many rows, and the last one's id; None where there are no more. In the order of the
    index, so that none of it is read twice.
    """
    [(number, last)] = side.rows(
        f"WITH gone AS (DELETE FROM {table.name} WHERE ctid = ANY (ARRAY("  # noqa: S608
        f"SELECT ctid FROM {table.name} WHERE account_id = %s AND id > %s"
        f" ORDER BY account_id, id LIMIT {BATCH_ROWS})) RETURNING id)"
        " SELECT count(*), max(id) FROM gone",
        [side.account_id, after],
    )
    return number, last


def _require(side: Side, state: State) -> None:
    side.cursor.execute(
        "SELECT FROM routers_owner_account WHERE account_id = %s FOR UPDATE", [side.account_id]
    )
    seen = side.state()[0]
    if seen is not state:
        raise MoveRefused(
            f"{side.alias} says {seen} of account {side.account_id}, not {state}: its rows are not "
            f"deleted. `manage.py shards check` shows where it is."
        )


def _send(source: Side, table: MovedTable, into: Any, which: str = "") -> None:
    source.cursor.copy_expert(
        f"COPY (SELECT {table.columns} FROM {table.name}"  # noqa: S608
        f" WHERE account_id = {source.account_id}{which}) TO STDOUT (FORMAT binary)",
        into,
    )


def _receive(target: Side, table: MovedTable, out_of: Any) -> None:
    sql = f"COPY {table.name} ({table.columns}) FROM STDIN (FORMAT binary)"
    try:
        target.cursor.copy_expert(sql, out_of, size=CHUNK)
    except Exception as error:
        if getattr(error, "pgcode", None) != UNIQUE_VIOLATION:
            raise
        raise MoveRefused(
            f"{target.alias} has a row already that is unique in {table.plain_name}: {error}"
        ) from error


def _same_number(source: Side, target: Side, table: MovedTable) -> None:
    if source.cursor.rowcount != target.cursor.rowcount:
        raise MoveRefused(
            f"Of {table.plain_name} {source.alias} sent {source.cursor.rowcount} rows and "
            f"{target.alias} took {target.cursor.rowcount}. Run again."
        )


def keyed(ids: Collection[int]) -> str:
    """The condition for rows with these ids."""
    return f" AND id = ANY ('{{{','.join(str(int(key)) for key in sorted(ids))}}}'::bigint[])"

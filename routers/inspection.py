"""What is on each shard: accounts, rows, bytes. Read by `manage.py shards status`."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from routers.conf import settings
from routers.placement import sharded_models
from routers.shard_map import current_map

__all__ = ["ShardStatus", "shard_statuses"]

# The distinct accounts of a table by hopping along its (account_id, id) index: one index probe an
# account, however many rows each has.
HOP = """
    WITH RECURSIVE hop(account_id) AS (
        SELECT min(account_id) FROM {table}
        UNION ALL
        SELECT (SELECT min(account_id) FROM {table} WHERE account_id > hop.account_id)
        FROM hop WHERE hop.account_id IS NOT NULL
    ) SELECT account_id FROM hop WHERE account_id IS NOT NULL
"""


@dataclass
class ShardStatus:
    """One shard's figures; `error` says why they are missing where the shard is away."""

    shard: str
    slots: int
    accounts: int | None = None
    rows: int | None = None
    size_bytes: int | None = None
    error: str | None = None

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def shard_statuses() -> list[ShardStatus]:
    """The figures of every shard, asked for in parallel, sorted by name."""
    slots = current_map().slots_by_shard()
    shards = sorted(settings().shards)
    with ThreadPoolExecutor(max_workers=8) as pool:
        return list(pool.map(_status, shards, [slots[shard] for shard in shards]))


def _status(shard: str, slots: int) -> ShardStatus:
    connection = connections[shard]
    try:
        with connection.cursor() as cursor:
            rows = sum(_count(cursor, model._meta.db_table) for model in sharded_models())
            accounts = len(_accounts(cursor))
        return ShardStatus(shard, slots, accounts, rows, _size_bytes(connection))
    except Error as error:
        return ShardStatus(shard, slots, error=str(error).strip())
    finally:
        connection.close()


def _accounts(cursor: CursorWrapper) -> set[int]:
    """The ids of all accounts that have a row in any sharded table of that shard."""
    found: set[int] = set()
    for model in sharded_models():
        cursor.execute(HOP.format(table=model._meta.db_table))
        found.update(account_id for (account_id,) in cursor.fetchall())
    return found


def _count(cursor: CursorWrapper, table: str) -> int:
    cursor.execute(f"SELECT count(*) FROM {table}")  # noqa: S608 - a table name of our own models
    count: int = cursor.fetchone()[0]
    return count


def _size_bytes(connection: BaseDatabaseWrapper) -> int | None:
    if connection.vendor != "postgresql":
        path = Path(str(connection.settings_dict["NAME"]))
        return path.stat().st_size if path.is_file() else None
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_database_size(current_database())")
        size: int = cursor.fetchone()[0]
        return size

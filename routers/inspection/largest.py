"""The largest and the busiest accounts, at a bounded cost. `manage.py shards top`.

Rows of a small table are counted; of a large one 32 MB of pages, picked at random, are read and
scaled up. Bytes are an account's share of a table with its indexes, by rows. Busy is who made rows:
a primary key says when it was born, so the newest rows are the end of one index. Reads leave no
trace in a database and are not known.
"""

import time
from collections import defaultdict
from dataclasses import asdict, dataclass

from routers.conf import settings
from routers.inspection.reading import Reader, ask_each
from routers.inspection.status import COUNTED_BYTES
from routers.keys import EPOCH_MS, make_key
from routers.placement import sharded_models

__all__ = ["NEWEST_ROWS", "AccountLoad", "largest_accounts"]

NEWEST_ROWS = 100_000  # of each table, of those born in the time that is asked for
SECONDS = 60.0


@dataclass
class AccountLoad:
    """What one account has on one shard. `rows` and `size_bytes` are estimates unless `exact`."""

    account: int
    shard: str
    rows: int = 0
    size_bytes: int | None = None
    new_rows: int = 0
    exact: bool = True

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def largest_accounts(
    *, limit: int = 10, by: str = "rows", hours: float = 24.0
) -> tuple[list[AccountLoad], dict[str, str]]:
    """The first `limit` accounts by rows, size_bytes or new_rows, and shard → error of those away.

    `new_rows` are those born in the last `hours`, of each table's newest NEWEST_ROWS.
    """
    since_ms = max(int((time.time() - hours * 3600) * 1000), EPOCH_MS)
    since = make_key(since_ms, 0, 0)
    answers = ask_each(sorted(settings().shards), lambda opened: _loads(opened, since), SECONDS)
    away = {shard: answer for shard, answer in answers.items() if isinstance(answer, str)}
    loads = [load for answer in answers.values() if not isinstance(answer, str) for load in answer]
    loads.sort(key=lambda load: (-(getattr(load, by) or 0), load.account))
    return loads[:limit], away


def _loads(opened: Reader, since: int) -> list[AccountLoad]:
    alias = opened.connection.alias
    found: dict[int, AccountLoad] = {}
    for model in sharded_models():
        table = model._meta.db_table
        for account, new in _newest(opened, table, since).items():
            found.setdefault(account, AccountLoad(account, alias)).new_rows += new
        rows, exact = _rows(opened, table)
        total = _total_bytes(opened, table)
        everything = sum(rows.values()) or 1
        for account, number in rows.items():
            load = found.setdefault(account, AccountLoad(account, alias))
            load.rows += number
            load.exact &= exact
            if total is not None:
                load.size_bytes = (load.size_bytes or 0) + total * number // everything
    return list(found.values())


def _rows(opened: Reader, table: str) -> tuple[dict[int, int], bool]:
    """Account → rows of the table; counted, or scaled up from a sample."""
    size = opened.bytes_of(table)
    exact = size <= COUNTED_BYTES
    percent = 100.0 if exact else 100.0 * COUNTED_BYTES / size
    sample = "" if exact else f"TABLESAMPLE SYSTEM ({percent:.6f})"
    sql = f"SELECT account_id, count(*) FROM {table} {sample} GROUP BY account_id"  # noqa: S608
    return {a: round(n * 100 / percent) for a, n in _numbers(opened, sql)}, exact


def _newest(opened: Reader, table: str, since: int) -> dict[int, int]:
    sql = f"""
        SELECT account_id, count(*) FROM (
            SELECT account_id FROM {table} WHERE id >= %s ORDER BY id DESC LIMIT {NEWEST_ROWS}
        ) AS newest GROUP BY account_id
    """  # noqa: S608 - our own table
    found: dict[int, int] = defaultdict(int)
    found.update(_numbers(opened, sql, [since]))
    return found


def _total_bytes(opened: Reader, table: str) -> int | None:
    if not opened.is_postgresql:
        return None
    return opened.number("SELECT pg_total_relation_size(%s)", [table])


def _numbers(
    opened: Reader, sql: str, parameters: list[int | str] | None = None
) -> list[tuple[int, int]]:
    return [(int(str(a)), int(str(n))) for a, n in opened.rows(sql, parameters)]

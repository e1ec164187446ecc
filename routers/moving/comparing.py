"""Whether two shards hold the same: every column of every row, by sums of 64-bit hashes.

Rows, their number and the sum of their hashes are equal, or the target is not what it should be. A
row's hash is over its exact values (see `tables`); a difference goes unseen with odds of 2**-64.
"""

from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from routers.moving.copying import keyed
from routers.moving.errors import ContentDiffers
from routers.moving.side import Side
from routers.moving.tables import MovedTable

__all__ = ["compare", "compare_keys"]

Sums = dict[str, tuple[int, int]]


def compare(source: Side, target: Side, tables: Collection[MovedTable]) -> int:
    """All of the account's rows, at the instant that each side's transaction sees; their number.

    Both shards work at the same time. Raises ContentDiffers.
    """
    with ThreadPoolExecutor(max_workers=2) as pool:
        theirs, ours = pool.map(partial(_sums, tables=tables), (source, target))
    _same(source, target, theirs, ours)
    for table in tables:
        _refuse_orphans(target, table)
    return sum(rows for rows, _ in ours.values())


def compare_keys(
    source: Side, target: Side, tables: Mapping[str, MovedTable], keys: Mapping[str, set[int]]
) -> None:
    """As `compare`, of the rows with these ids by table."""
    for name, ids in keys.items():
        table = tables[name]
        which = keyed(ids)
        theirs, ours = (_sums(side, [table], which) for side in (source, target))
        _same(source, target, theirs, ours)
        _refuse_orphans(target, table, which)


def _sums(side: Side, tables: Collection[MovedTable], which: str = "") -> Sums:
    """Table → number of rows, sum of their hashes."""
    found = {}
    for table in tables:
        sql = f"SELECT count(*), coalesce(sum({table.digest}), 0) FROM {table.name}"  # noqa: S608
        [(rows, digest)] = side.rows(f"{sql} WHERE account_id = %s{which}", [side.account_id])
        found[table.plain_name] = (int(rows), int(digest))
    return found


def _same(source: Side, target: Side, theirs: Sums, ours: Sums) -> None:
    for table, (rows, digest) in theirs.items():
        if ours[table] != (rows, digest):
            raise ContentDiffers(
                f"{table} of account {source.account_id} differs: {source.alias} has {rows} rows "
                f"with the sum {digest}, {target.alias} {ours[table][0]} with {ours[table][1]}. "
                f"The account stays on {source.alias}; run again."
            )


def _refuse_orphans(target: Side, table: MovedTable, which: str = "") -> None:
    """Foreign keys were not looked at, and reference models are each shard's own copy."""
    for column, parent, key in table.references:
        found = target.rows(
            f"SELECT {column} FROM {table.name} t WHERE account_id = %s{which}"  # noqa: S608
            f" AND {column} IS NOT NULL AND NOT EXISTS"
            f" (SELECT FROM {parent} p WHERE p.{key} = t.{column}) LIMIT 1",
            [target.account_id],
        )
        if found:
            raise ContentDiffers(
                f"{target.alias} has no {found[0][0]!r} in {parent}, which {table.plain_name} "
                f"refers to. `manage.py reference status` shows why; then run again."
            )

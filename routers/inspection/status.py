"""What is on each shard: accounts, rows, bytes, connections, lag, schema.

Read by `manage.py shards status`. A frozen shard is shown as away.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from django.db.migrations.loader import MigrationLoader

from routers.conf import settings
from routers.inspection.reading import SECONDS, Reader, ask_each
from routers.placement import sharded_models
from routers.shard_map import current_map

__all__ = ["COUNTED_BYTES", "ReplicaStatus", "ShardStatus", "accounts_of", "shard_statuses"]

COUNTED_BYTES = 32 * 2**20  # a smaller table is counted, a larger one estimated

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
SERVER = """
    SELECT host(inet_server_addr()) || ':' || inet_server_port(),
           split_part(current_setting('server_version'), ' ', 1),
           pg_database_size(current_database()),
           (SELECT numbackends FROM pg_stat_database WHERE datname = current_database()),
           CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_lsn() END
"""
REPLAYED = """
    SELECT greatest(pg_wal_lsn_diff(%s::pg_lsn, pg_last_wal_replay_lsn()), 0)::bigint,
           extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float
"""


@dataclass
class ReplicaStatus:
    """A replica's lag behind its primary: WAL not replayed, and the age of what it has."""

    lag_bytes: int | None = None
    lag_seconds: float | None = None
    error: str | None = None


@dataclass
class ShardStatus:
    """One shard's figures; `error` says why they are missing where the shard is away.

    `rows` is an estimate unless `rows_are_exact`; `unapplied` are migrations, as app.name.
    """

    shard: str
    slots: int
    host: str | None = None
    version: str | None = None
    accounts: int | None = None
    rows: int | None = None
    rows_are_exact: bool = True
    size_bytes: int | None = None
    connections: int | None = None
    replicas: dict[str, ReplicaStatus] = field(default_factory=dict)
    unapplied: list[str] = field(default_factory=list)
    error: str | None = None

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def shard_statuses(*, exact: bool = False, seconds: float = SECONDS) -> list[ShardStatus]:
    """The figures of every shard, asked for in parallel, sorted by name.

    `exact` counts every row, which takes its time on large tables.
    """
    slots = current_map().slots_by_shard()
    wanted = _migrations()

    def ask(opened: Reader) -> ShardStatus:
        return _status(opened, slots[opened.connection.alias], wanted, exact)

    answers = ask_each(sorted(settings().shards), ask, seconds)
    return [
        ShardStatus(shard, slots[shard], error=answer) if isinstance(answer, str) else answer
        for shard, answer in answers.items()
    ]


def _status(opened: Reader, slots: int, wanted: dict[str, set[str]], exact: bool) -> ShardStatus:
    counts = [_count(opened, model._meta.db_table, exact) for model in sharded_models()]
    alias = opened.connection.alias
    status = ShardStatus(
        alias,
        slots,
        accounts=len(set().union(*accounts_of(opened).values())),
        rows=sum(rows for rows, _ in counts),
        rows_are_exact=all(is_exact for _, is_exact in counts),
        unapplied=_unapplied(opened, wanted),
    )
    if not opened.is_postgresql:
        path = Path(str(opened.connection.settings_dict["NAME"]))
        status.host = "SQLite"
        status.size_bytes = path.stat().st_size if path.is_file() else None
        return status
    host, version, size, connections, position = opened.rows(SERVER)[0]
    status.host, status.version = str(host) if host else "a socket", str(version)
    status.size_bytes, status.connections = int(str(size)), int(str(connections))
    replicas = settings().replicas.get(alias, ())
    status.replicas = {replica: _lag(replica, str(position)) for replica in replicas}
    return status


def _lag(replica: str, position: str) -> ReplicaStatus:
    """How far the replica is behind what its primary had written a moment ago."""
    answer = ask_each([replica], lambda opened: opened.rows(REPLAYED, [position])[0])[replica]
    if isinstance(answer, str):
        return ReplicaStatus(error=answer)
    missing, age = int(str(answer[0])), answer[1]
    seconds = 0.0 if missing == 0 else None if age is None else float(str(age))
    return ReplicaStatus(missing, seconds)


def accounts_of(opened: Reader) -> dict[str, set[int]]:
    """Table → the ids of all accounts that have a row in it, for each sharded table."""
    tables = [model._meta.db_table for model in sharded_models()]
    return {
        table: {int(str(account)) for (account,) in opened.rows(HOP.format(table=table))}
        for table in tables
    }


def _count(opened: Reader, table: str, exact: bool) -> tuple[int, bool]:
    """A table's rows, and whether they were counted; else the planner's estimate by its size."""
    if exact or not opened.is_postgresql or opened.bytes_of(table) <= COUNTED_BYTES:
        return opened.number(f"SELECT count(*) FROM {table}"), True  # noqa: S608 - our own table
    plan = opened.rows(f"EXPLAIN (FORMAT JSON) SELECT FROM {table}")[0][0]
    parsed = json.loads(plan) if isinstance(plan, str) else plan
    return int(parsed[0]["Plan"]["Plan Rows"]), False  # type: ignore[index]


def _migrations() -> dict[str, set[str]]:
    """Every migration of the code → those that it replaces, as app.name."""
    loader = MigrationLoader(None)
    return {
        ".".join(key): {".".join(replaced) for replaced in migration.replaces}
        for key, migration in loader.graph.nodes.items()
    }


def _unapplied(opened: Reader, wanted: dict[str, set[str]]) -> list[str]:
    applied = {
        f"{app}.{name}" for app, name in opened.rows("SELECT app, name FROM django_migrations")
    }
    return sorted(
        name
        for name, replaced in wanted.items()
        if name not in applied and not (replaced and replaced <= applied)
    )

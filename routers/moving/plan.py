"""What a move will do, and whether it may be begun at all. Nothing is changed here."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field

from django.db import connections
from django.db.models import F, Sum

from routers.conf import CATALOG, settings
from routers.context import MAX_ACCOUNT
from routers.exceptions import InvalidAccount
from routers.migrating.schema_facts import Fact, read_schema
from routers.models import Move
from routers.moving.errors import MoveRefused
from routers.moving.journal import refuse_unfinished
from routers.moving.opening import open_side
from routers.moving.side import Side
from routers.moving.tables import tables_of
from routers.ownership.states import State
from routers.placement import reference_models, sharded_models
from routers.shard_map import refresh_map

__all__ = ["Plan", "plan_move", "refuse_drift", "refuse_states"]

SAMPLE_ROWS = 1_000
USUAL_RATE, FIXED_SECONDS = 50_000.0, 0.5  # rows a second, where no move was made before
DIFFERING = frozenset({"table", "column", "constraint", "trigger"})


@dataclass(frozen=True)
class Plan:
    """One account's move. `tables`: name → (rows, bytes by a sample); `seconds` is an estimate."""

    account: int
    source: str
    target: str
    tables: dict[str, tuple[int, int]] = field(default_factory=dict)
    seconds: float = 0

    @property
    def rows(self) -> int:
        return sum(rows for rows, _ in self.tables.values())

    @property
    def bytes(self) -> int:
        return sum(size for _, size in self.tables.values())

    def as_dict(self) -> dict[str, object]:
        return asdict(self) | {"rows": self.rows, "bytes": self.bytes}


def plan_move(account_id: int, target: str) -> Plan:
    """The plan. Raises MoveRefused, naming what is in the way; RoutingError for no such account."""
    if type(account_id) is not int or not 0 < account_id <= MAX_ACCOUNT:
        raise InvalidAccount(account_id)
    if target not in settings().shards:
        known = ", ".join(sorted(settings().shards))
        raise MoveRefused(f"{target!r} is no shard. The shards in SHARDING are: {known}.")
    refuse_unfinished(account_id)
    source = refresh_map().shard_of(account_id)
    if source == target:
        raise MoveRefused(f"Account {account_id} is on {target} already: nothing to move.")
    with (
        open_side(source, account_id, lock=False) as there,
        open_side(target, account_id, lock=False) as here,
    ):
        refuse_states(there, here)
        refuse_drift(source, target)
        with there.transaction(snapshot=True):
            tables = dict(_sizes(there))
    rows = sum(number for number, _ in tables.values())
    return Plan(account_id, source, target, tables, FIXED_SECONDS + rows / _rate(source, target))


def refuse_states(source: Side, target: Side) -> None:
    """Raise MoveRefused unless the source is the owner and the target is told that it is not."""
    account = source.account_id
    with source.transaction(), target.transaction():
        state, moved_to = source.in_force()
        if state is not State.OWNER:
            where = f"moved to {moved_to}" if moved_to else str(state)
            raise MoveRefused(
                f"The map says that account {account} is on {source.alias}, which says: {where}. "
                f"`manage.py shards check` compares them; `manage.py shards move {account} "
                f"--resume` settles what was left half done."
            )
        state, _ = target.in_force()
        told = target.slot()[0] is not None or target.state()[0] is not None
        if state is State.CAPTURED or (state is State.OWNER and (told or _has_rows(target))):
            raise MoveRefused(
                f"{target.alias} says that account {account} is its own, or has rows of it, and "
                f"the map that it is on {source.alias}. `manage.py shards tell`, then "
                f"`manage.py shards check`."
            )


def _has_rows(side: Side) -> bool:
    return any(
        side.rows(f"SELECT FROM {t.name} WHERE account_id = %s LIMIT 1", [side.account_id])
        for t in tables_of(side.cursor)
    )


def refuse_drift(source: str, target: str) -> None:
    """Raise MoveRefused where the tables of the two shards differ, naming the first difference."""
    theirs, ours = (_facts(alias) for alias in (source, target))
    for fact in sorted(theirs ^ ours, key=lambda fact: (fact.table, fact.kind, fact.name)):
        has, lacks = (source, target) if fact in theirs else (target, source)
        raise MoveRefused(
            f"The schemas differ: {has} has in {fact.table} the {fact.kind} {fact.name} "
            f"({fact.definition}), {lacks} has it not, or otherwise. `manage.py migrate_shards "
            f"--check` shows all; `manage.py migrate_shards` mends it."
        )


def _facts(alias: str) -> set[Fact]:
    """All that decides which rows a table can hold. Plain indexes may differ."""
    tables = {model._meta.db_table for model in (*sharded_models(), *reference_models())}
    with closing(connections[alias].copy()) as connection:
        return {
            fact
            for fact in read_schema(connection)
            if fact.table in tables and (fact.kind in DIFFERING or "UNIQUE" in fact.definition)
        }


def _sizes(side: Side) -> Iterator[tuple[str, tuple[int, int]]]:
    for table in tables_of(side.cursor):
        [(rows, size)] = side.rows(
            f"SELECT (SELECT count(*) FROM {table.name} WHERE account_id = %(account)s),"  # noqa: S608
            f" (SELECT coalesce(avg(pg_column_size(t.*)), 0) FROM (SELECT * FROM {table.name}"
            f" WHERE account_id = %(account)s LIMIT {SAMPLE_ROWS}) t)",
            {"account": side.account_id},
        )
        yield table.plain_name, (int(rows), int(rows * size))


def _rate(source: str, target: str) -> float:
    """Rows a second, of the moves so far between these two."""
    done = Move.objects.using(CATALOG).filter(source=source, target=target, rows__gt=1000)
    found = done.filter(outcome__in=[Move.Outcome.DONE, Move.Outcome.KEPT]).aggregate(
        rows=Sum("rows"), seconds=Sum(F("copy_seconds"))
    )
    return found["rows"] / found["seconds"] if found["rows"] and found["seconds"] else USUAL_RATE

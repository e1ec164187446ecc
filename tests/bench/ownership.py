"""What the check of ownership costs a small transaction, and whether a stale process gets past it.

A transaction is BEGIN, an INSERT of one row, an UPDATE of it and COMMIT, as psycopg2 sends them, on
shard01 through PgBouncer: by wall clock, and by the time the server's process was on a CPU. The
forms take turns at every transaction, each on a table of its own, all equally warm. "fast" is what
almost every write meets; "looked up" an account in whose slot another one moves, has moved or is
pinned; "each row" is the form of others, a lock and a look-up by a trigger at each row.
"""

import random
import statistics
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
from rich.table import Table

from tests.bench.cluster import config, owner

__all__ = ["Form", "ownership_table"]

SHARD, ACCOUNTS = "shard01", 2_000
ROUNDS, TRANSACTIONS, STALE_WRITES, BULK_ROWS = 7, 200, 10_000, 2_000
CLOSED = 5  # a slot of the accounts that are looked up
TABLE = """
CREATE TABLE {table} (id bigint PRIMARY KEY DEFAULT routers_next_key(),
    account_id bigint NOT NULL, title text, number integer, UNIQUE (account_id, id))
"""
TRIGGER = """
CREATE TRIGGER routers_owner_write BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW
    EXECUTE FUNCTION {function}();
"""
EACH_ROW = """
CREATE TABLE bench_owner (account_id bigint PRIMARY KEY, state text NOT NULL, moved_to text);
INSERT INTO bench_owner SELECT number, 'owner' FROM generate_series(1, 10000) number;
CREATE FUNCTION bench_each_row() RETURNS trigger LANGUAGE plpgsql AS $bench$
DECLARE seen text;
BEGIN
    IF NOT pg_try_advisory_xact_lock_shared(NEW.account_id) THEN
        RAISE EXCEPTION 'moving' USING ERRCODE = 'FU001';
    END IF;
    SELECT state INTO seen FROM bench_owner WHERE account_id = NEW.account_id;
    IF seen IS DISTINCT FROM 'owner' THEN
        RAISE EXCEPTION 'moved' USING ERRCODE = 'FU002';
    END IF;
    RETURN NEW;
END $bench$;
"""
FORMS = {
    "no check": None,
    "no check, again": None,
    "fast": "routers_guard_write",
    "looked up": "routers_guard_write",
    "each row": "bench_each_row",
}


@dataclass
class Form:
    """One way to check; microseconds of each transaction, one list a round."""

    name: str
    table: str
    wall: list[list[float]] = field(default_factory=list)
    cpu: list[list[float]] = field(default_factory=list)
    bulk: list[float] = field(default_factory=list)

    def account(self) -> int:
        """One whose slot is open, or for "looked up" the closed one."""
        if self.name == "looked up":
            return CLOSED + 4096
        return random.randint(10, ACCOUNTS)


def ownership_table() -> Table:
    """A row a form: medians, ratios to no check at all (median of the rounds'), bulk."""
    with _tables() as forms, closing(_connect(config())) as connection:
        for _ in range(ROUNDS):
            _round(connection, forms)
        refused = _stale_writes(connection)
    base = forms[0]
    heads = ("form", "us", "ratio", "from-to", "CPU us", "CPU ratio", "bulk, us a row")
    table = Table(*heads, title=f"the check of ownership, {ROUNDS} x {TRANSACTIONS} transactions")
    for form in forms:
        ratios = _ratios(form.wall, base.wall)
        table.add_row(
            form.name,
            f"{_median(form.wall):.0f}",
            f"{statistics.median(ratios):.3f}",
            f"{min(ratios):.3f}-{max(ratios):.3f}",
            f"{_median(form.cpu):.0f}",
            f"{statistics.median(_ratios(form.cpu, base.cpu)):.3f}",
            f"{statistics.median(form.bulk):.1f}",
        )
    table.caption = f"a process with an old map: {refused:,} of {STALE_WRITES:,} writes refused"
    return table


def _median(rounds: list[list[float]]) -> float:
    return statistics.median(time for times in rounds for time in times)


def _ratios(ours: list[list[float]], base: list[list[float]]) -> list[float]:
    pairs = zip(ours, base, strict=True)
    return [statistics.median(mine) / statistics.median(theirs) for mine, theirs in pairs]


def _connect(loaded: dict[str, Any]) -> Any:
    return _login(loaded["databases"][SHARD])


def _login(given: dict[str, Any]) -> Any:
    names = {"host": "host", "port": "port", "name": "dbname", "user": "user"}
    login = {theirs: given[ours] for ours, theirs in names.items()}
    return psycopg2.connect(**login, password=given["password"])


@contextmanager
def _tables() -> Iterator[list[Form]]:
    """A table for each form, and one account that has moved, taken away afterwards."""
    forms = [Form(name, f"bench_form_{number}") for number, name in enumerate(FORMS)]
    with closing(_login(owner(SHARD))) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        _drop(cursor, forms)
        cursor.execute(EACH_ROW)
        for form, function in zip(forms, FORMS.values(), strict=True):
            cursor.execute(TABLE.format(table=form.table))
            if function:
                cursor.execute(TRIGGER.format(table=form.table, function=function))
        cursor.execute(
            "INSERT INTO routers_owner_slot SELECT number, 'owner'"
            " FROM generate_series(0, 4095) number ON CONFLICT DO NOTHING;"
            "INSERT INTO routers_owner_account (account_id, state, moved_to)"
            " VALUES (%s, 'moved', 'shard02'); SELECT routers_compile_owner()",
            [CLOSED],
        )
        try:
            yield forms
        finally:
            cursor.execute(
                "DELETE FROM routers_owner_account WHERE account_id = %s;"
                " DELETE FROM routers_owner_slot;"  # the other benches' accounts are anywhere
                " SELECT routers_compile_owner()",
                [CLOSED],
            )
            _drop(cursor, forms)


def _drop(cursor: Any, forms: list[Form]) -> None:
    names = ", ".join(form.table for form in forms)
    cursor.execute(f"DROP TABLE IF EXISTS {names}, bench_owner")
    cursor.execute("DROP FUNCTION IF EXISTS bench_each_row()")


def _round(connection: Any, forms: list[Form]) -> None:
    backend = _backends(connection)
    for form in forms:
        form.wall.append([])
        form.cpu.append([])
    for number in range(TRANSACTIONS + 20):
        for form in random.sample(forms, len(forms)):
            before, began = backend(), time.perf_counter_ns()
            _transaction(connection, form)
            ended, after = time.perf_counter_ns(), backend()
            if number >= 20:  # each round's first ones find nothing warm
                form.wall[-1].append((ended - began) / 1000)
                form.cpu[-1].append((after - before) / 1000)
    for form in forms:
        form.bulk.append(_bulk(connection, form))


def _backends(connection: Any) -> Any:
    """A reader of the nanoseconds that the pool's server processes have been on a CPU.

    All of them, since the pooler may give each transaction to another. Nobody else is busy there.
    """
    cursor = connection.cursor()
    cursor.execute("SELECT pid FROM pg_stat_activity WHERE usename = current_user")
    files = [Path(f"/proc/{pid}/schedstat") for (pid,) in cursor.fetchall()]
    connection.commit()
    return lambda: sum(int(file.read_text().split()[0]) for file in files)


def _transaction(connection: Any, form: Form) -> None:
    cursor, account = connection.cursor(), form.account()
    cursor.execute(
        f"INSERT INTO {form.table} (account_id, title) VALUES (%s, 'x') RETURNING id", [account]
    )
    cursor.execute(
        f"UPDATE {form.table} SET number = 2 WHERE account_id = %s AND id = %s",
        [account, cursor.fetchone()[0]],
    )
    connection.commit()


def _bulk(connection: Any, form: Form) -> float:
    """Microseconds a row of one INSERT of many."""
    began = time.perf_counter_ns()
    connection.cursor().execute(
        f"INSERT INTO {form.table} (account_id, title) SELECT %s, 'x' FROM generate_series(1, %s)",
        [form.account(), BULK_ROWS],
    )
    connection.commit()
    return (time.perf_counter_ns() - began) / 1000 / BULK_ROWS


def _stale_writes(connection: Any) -> int:
    """How many writes of a process that does not know of the move are refused, as moved."""
    connection.autocommit = True
    cursor, refused = connection.cursor(), 0
    for _ in range(STALE_WRITES):
        try:
            cursor.execute(
                "INSERT INTO bench_form_2 (account_id, title) VALUES (%s, 'x')", [CLOSED]
            )
        except psycopg2.Error as error:
            refused += error.pgcode == "FU002"
    return refused

"""seed_demo against the least that PostgreSQL can do: INSERT … SELECT generate_series by psql.

Each round inserts the same number of rows into the same tables (keys, indexes, foreign keys) of
the same four servers, all four at once: `seed_demo` into the shards, psql into a database made
from a dump of each shard. Rounds alternate.
"""

import io
import os
import re
import statistics
import subprocess
import time
from dataclasses import dataclass

from rich.table import Table

from tests.bench.cluster import SHARDS, manage, owner, secrets, superuser

__all__ = ["bench_seeding", "seeding_table"]

ROUNDS = 3
TABLES = ("assessments_candidate", "assessments_testsession", "assessments_answer")
BASELINE = "baseline"
OWNER = "(SELECT account_id FROM assessments_test)"  # there is one test
REFERRED = {  # what the rows refer to
    "tasks_country": "TABLE tasks_country",
    "tasks_task": "TABLE tasks_task",
    "assessments_test": "SELECT * FROM assessments_test LIMIT 1",
}

# Rows as cheap as they can be, in the shape of the real ones. {n} sessions, {a} of them taken.
STATEMENTS = """
INSERT INTO assessments_candidate (id, account_id, email, name, created_at)
SELECT {base} + i, {account}, '{base}.' || i || '@example.org', 'Candidate ' || i, now()
FROM generate_series(1, {n}) AS i;
INSERT INTO assessments_testsession (id, account_id, code, test_id, candidate_id, country_id,
    status, created_at, started_at, finished_at, judged_at, score, maximum, similarity)
SELECT {base} + i, {account}, lpad(to_hex({base} / 1000 + i), 12, '0'),
    (SELECT id FROM assessments_test), {base} + i, 'PL', 'closed', now(), now(), now(), now(),
    i % 300, 300, NULL
FROM generate_series(1, {n}) AS i;
INSERT INTO assessments_answer (id, account_id, session_id, task_id, output, submitted_at,
    correctness, performance, score)
SELECT {base} + 3 * i + task.place, {account}, {base} + i, task.id, '', now(), 50, 50, 50
FROM generate_series(1, {a}) AS i,
    (SELECT id, row_number() OVER () AS place FROM tasks_task LIMIT 3) AS task;
"""


@dataclass
class Round:
    """Rows and seconds of both, in one round."""

    rows: int
    seed_seconds: float
    psql_rows: int
    psql_seconds: float

    @property
    def ratio(self) -> float:
        return (self.rows / self.seed_seconds) / (self.psql_rows / self.psql_seconds)


def bench_seeding(accounts: int, sessions: int) -> list[Round]:
    """Fill the cluster with `sessions` in three rounds; returns the rounds."""
    for shard in SHARDS:
        _make_baseline(shard)
    rounds = []
    before = _counts()
    for number in range(1, ROUNDS + 1):
        rows, seconds = _seed(accounts, sessions * number // ROUNDS)
        after = _counts()
        added = {s: [b - a for a, b in zip(before[s], after[s], strict=True)] for s in SHARDS}
        before = after
        if rows == 0:
            continue  # a cluster filled by an earlier run
        psql_rows, psql_seconds = _psql(number, added)
        rounds.append(Round(rows, seconds, psql_rows, psql_seconds))
    for shard in SHARDS:
        with superuser(shard, "postgres").cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {BASELINE}")
    return rounds


def _seed(accounts: int, sessions: int) -> tuple[int, float]:
    said = manage("seed_demo", "--accounts", str(accounts), "--sessions", str(sessions))
    print(said.strip(), flush=True)
    found = re.search(r"([\d,]+) rows inserted in ([\d.]+) s", said)
    assert found, said
    return int(found[1].replace(",", "")), float(found[2])


def _counts() -> dict[str, list[int]]:
    counted = {}
    for shard in SHARDS:
        with superuser(shard).cursor() as cursor:
            counted[shard] = []
            for table in TABLES:
                cursor.execute(f"SELECT count(*) FROM {table}")
                counted[shard].append(cursor.fetchone()[0])
    return counted


def _make_baseline(shard: str) -> None:
    """A database of the same schema on the same server."""
    with superuser(shard, "postgres").cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {BASELINE}")
        cursor.execute(f"CREATE DATABASE {BASELINE}")
    dump = subprocess.run(
        [*_tool("pg_dump", shard, owner(shard)["name"]), "--schema-only"],
        env=_password(),
        check=True,
        capture_output=True,
    )
    subprocess.run(
        [*_tool("psql", shard, BASELINE), "-q", "-v", "ON_ERROR_STOP=1"],
        env=_password(),
        input=dump.stdout,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    source, target = superuser(shard).cursor(), superuser(shard, BASELINE).cursor()
    for table, rows in REFERRED.items():
        buffer = io.StringIO()
        source.copy_expert(f"COPY ({rows}) TO STDOUT", buffer)
        buffer.seek(0)
        target.copy_expert(f"COPY {table} FROM STDIN", buffer)


def _psql(number: int, added: dict[str, list[int]]) -> tuple[int, float]:
    """All four servers at once; the seconds are psql's, from first statement to last."""
    began = time.monotonic()
    running = []
    for shard, (candidates, _, answers) in added.items():
        script = STATEMENTS.format(
            base=number * 10**12, account=OWNER, n=candidates, a=answers // 3
        )
        process = subprocess.Popen(
            [*_tool("psql", shard, BASELINE), "-q", "-v", "ON_ERROR_STOP=1"],
            env=_password(),
            stdin=subprocess.PIPE,
        )
        assert process.stdin
        process.stdin.write(script.encode())
        process.stdin.close()
        running.append(process)
    assert all(process.wait() == 0 for process in running)
    return sum(sum(rows) for rows in added.values()), time.monotonic() - began


def _tool(program: str, shard: str, database: str) -> list[str]:
    given = owner(shard)
    options = ["-h", given["host"], "-p", str(given["port"]), "-U", "postgres", "-d", database]
    return [program, *options]


def _password() -> dict[str, str]:
    return {**os.environ, "PGPASSWORD": secrets()["superuser"]}


def seeding_table(accounts: int, sessions: int) -> Table:
    """Rows a second, ours and psql's."""
    table = Table("round", "rows", "seed_demo rows/s", "psql rows/s", "ratio", title="seed_demo")
    rounds = bench_seeding(accounts, sessions)
    for number, done in enumerate(rounds, start=1):
        rates = done.rows / done.seed_seconds, done.psql_rows / done.psql_seconds
        table.add_row(
            str(number), f"{done.rows:,}", *(f"{rate:,.0f}" for rate in rates), f"{done.ratio:.2f}"
        )
    if rounds:
        median = statistics.median(done.ratio for done in rounds)
        table.add_row("median", "", "", "", f"{median:.2f}")
    return table

"""A replica: made by `up`, follows its primary, and is said to be behind, lost or half made."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg2.errors
import pytest

from infra.layout import Layout
from infra.supervise import Supervisor
from tests.cluster.harness import CHECKOUT, Cluster, eventually

NAME = "shard01_replica"
LINE = "- { role: replica, host: 127.0.0.1, port: 27441 }"
REBUILD = f"`.venv/bin/python -m infra rebuild {NAME}` copies it anew"


def ask(cluster: Cluster, alias: str, sql: str, role: str = "admin") -> list[tuple[Any, ...]]:
    """What a database answers to a superuser, or to another role."""
    with closing(cluster.connect(alias, role)) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall()) if cursor.description else []


@pytest.fixture
def table(fragile: Cluster) -> Iterator[str]:
    """A table on shard01, made by the owner."""
    ask(fragile, "shard01", "CREATE TABLE IF NOT EXISTS followed (n int)", "owner")
    ask(fragile, "shard01", "TRUNCATE followed", "owner")
    yield "followed"
    ask(fragile, "shard01", "DROP TABLE followed", "owner")


def write(cluster: Cluster, n: int) -> None:
    """One row, as the application."""
    ask(cluster, "shard01", f"INSERT INTO followed VALUES ({n})", "app")


def read(cluster: Cluster) -> list[int]:
    """The replica's rows, as the application."""
    return sorted(n for (n,) in ask(cluster, NAME, "SELECT n FROM followed", "app"))


def slot(cluster: Cluster) -> list[tuple[Any, ...]]:
    """What its primary says of the replica's place in the WAL."""
    sql = f"SELECT wal_status FROM pg_replication_slots WHERE slot_name = '{NAME}'"
    return ask(cluster, "shard01", sql)


def test_the_site_knows_it_as_a_replica_of_its_shard(scratch: Cluster) -> None:
    databases = scratch.config()["databases"]
    of = {alias: given["replica_of"] for alias, given in databases.items() if "replica_of" in given}
    assert of == {NAME: "shard01"}
    assert ask(scratch, NAME, "SELECT pg_is_in_recovery()", "app") == [(True,)]


def test_a_row_arrives_and_can_only_be_read(fragile: Cluster, table: str) -> None:
    write(fragile, 1)
    eventually(lambda: read(fragile) == [1])
    with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
        ask(fragile, NAME, f"INSERT INTO {table} VALUES (2)", "app")


def test_what_was_written_while_it_was_dead_arrives(fragile: Cluster, table: str) -> None:
    pid = fragile.kill(NAME)
    write(fragile, 1)
    fragile.wait_for_another(NAME, pid)
    eventually(lambda: read(fragile) == [1])


def test_its_lag_is_shown(fragile: Cluster, table: str) -> None:
    eventually(lambda: read(fragile) == [])
    ask(fragile, NAME, "SELECT pg_wal_replay_pause()")
    try:
        eventually(lambda: ask(fragile, NAME, PAUSED) == [("paused",)])
        write(fragile, 1)
        row = fragile.rows()[NAME]
        assert (row["replica_of"], row["healthy"]) == ("shard01", True)
        assert row["lag_bytes"] > 0
        assert row["lag_seconds"] > 0
        assert " MiB behind shard01" in fragile.run("status", status=None)
        assert read(fragile) == []
    finally:
        ask(fragile, NAME, "SELECT pg_wal_replay_resume()")
    eventually(lambda: read(fragile) == [1])
    eventually(lambda: fragile.rows()[NAME]["lag_bytes"] == 0)
    assert "ok, 0 bytes behind shard01" in fragile.run("status", status=None)


PAUSED = "SELECT pg_get_wal_replay_pause_state()"


@contextmanager
def no_checkpoint(cluster: Cluster) -> Iterator[None]:
    """Nothing begins a base backup of shard01 meanwhile."""
    children = psutil.Process(cluster.pids()["shard01"]).children()
    [checkpointer] = [child for child in children if "checkpointer" in " ".join(child.cmdline())]
    checkpointer.suspend()
    try:
        yield
    finally:
        checkpointer.resume()


def copying(cluster: Cluster) -> bool:
    """Whether a base backup is being made."""
    found = [p.info for p in psutil.process_iter(["name", "cmdline"])]
    copies = [p["cmdline"] for p in found if p["name"] == "pg_basebackup"]
    return any(str(cluster.root) in " ".join(words or []) for words in copies)


def test_a_copy_that_is_killed_is_made_again(fragile: Cluster, table: str) -> None:
    command = [sys.executable, "-m", "infra", *fragile.options, "rebuild", NAME]
    data = fragile.root / "postgres" / NAME
    with (
        no_checkpoint(fragile),
        subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.DEVNULL) as process,
    ):
        try:
            eventually(lambda: copying(fragile))
        finally:
            process.kill()
    assert not data.exists()
    assert "copy the data of shard01_replica" in fragile.up()
    assert not copying(fragile)
    write(fragile, 1)
    eventually(lambda: read(fragile) == [1])
    assert [path.name for path in data.parent.iterdir() if path.name.startswith(".")] == []


@contextmanager
def little_wal(cluster: Cluster) -> Iterator[None]:
    """shard01 keeps next to nothing for a replica that is away."""
    setting = "max_slot_wal_keep_size"
    ask(cluster, "shard01", f"ALTER SYSTEM SET {setting} = '1MB'")
    ask(cluster, "shard01", "SELECT pg_reload_conf()")
    try:
        yield
    finally:
        ask(cluster, "shard01", f"ALTER SYSTEM RESET {setting}")
        ask(cluster, "shard01", "SELECT pg_reload_conf()")


def move_on(cluster: Cluster) -> bool:
    """Write some WAL; whether the replica's place in it is lost."""
    ask(cluster, "shard01", "SELECT pg_logical_emit_message(false, '', ''), pg_switch_wal()")
    ask(cluster, "shard01", "CHECKPOINT")
    return slot(cluster) == [("lost",)]


def test_one_that_is_too_far_behind_is_named_with_the_cure(fragile: Cluster, table: str) -> None:
    Supervisor(Layout.at(fragile.root)).stop([NAME])
    with little_wal(fragile):
        eventually(lambda: move_on(fragile))
    said = fragile.run("up", "--only", "servers", status=1)
    assert f"{NAME} does not come up: too far behind: shard01 no longer has the WAL" in said
    assert REBUILD in said
    write(fragile, 1)  # the rest of the cluster does without it
    assert f"{NAME} follows shard01." in fragile.run("rebuild", NAME)
    assert read(fragile) == [1]
    fragile.up()


def test_one_that_is_taken_out_keeps_no_wal(fragile: Cluster, tmp_path: Path) -> None:
    text = fragile.description.read_text()
    assert LINE in text
    path = tmp_path / "cluster.yml"
    path.write_text(text.replace(LINE, ""))
    without = Cluster(path, fragile.root)
    assert f"drop the slot {NAME} on shard01" in without.up()
    assert NAME not in without.rows()
    assert NAME not in without.config()["databases"]
    assert slot(without) == []
    assert "There are: none in" in without.run("rebuild", NAME, status=1)
    assert REBUILD in fragile.run("up", "--only", "servers", status=1)
    fragile.run("rebuild", NAME)
    assert fragile.rows()[NAME]["healthy"]


def test_it_can_be_asked_past_the_pooler(scratch: Cluster) -> None:
    assert ask(scratch, NAME, "SELECT pg_is_in_recovery()", "owner") == [(True,)]

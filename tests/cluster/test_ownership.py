"""A cluster of two shards that are told what they own, and a process that keeps an old map."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.cluster.harness import CHECKOUT, Cluster
from tests.variants import PYTHONPATH, Variant

ACCOUNT, TIMES = 4096 * 7, 400  # on the first shard by an even map
SHARDS = ("shard01", "shard02")
OWNED = Variant("owned", shift=7_700, toy=True)


def start(cluster: Cluster, *arguments: str, role: str = "owner") -> "subprocess.Popen[str]":
    name = "site.json" if role == "app" else f"site-{role}.json"
    return subprocess.Popen(
        [sys.executable, "-m", "tests.cluster.ownership_worker", cluster.root / name, *arguments],
        cwd=CHECKOUT,
        env={"PYTHONPATH": PYTHONPATH},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(cluster: Cluster, *arguments: str, status: int = 0) -> str:
    """Run a command as the owner; what it printed."""
    process = start(cluster, *arguments)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == status, said
    return said


def on(cluster: Cluster, shard: str, sql: str) -> list[Any]:
    with closing(cluster.connect(shard, "owner")) as connection:
        cursor = connection.cursor()
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else []


@pytest.fixture(scope="module")
def made() -> Iterator[Cluster]:
    """A cluster of its own, two of whose shards are used: told once, a shard refuses."""
    cluster = Cluster(OWNED.describe(), OWNED.root)
    cluster.up()
    for alias in ("default", *SHARDS):
        run(cluster, "migrate", "--database", alias, "--run-syncdb")
    yield cluster
    cluster.run("clean", "--yes")


@pytest.fixture
def told(made: Cluster) -> Cluster:
    """With the first map again, and every shard told for the first time."""
    on(made, "default", "DELETE FROM routers_mapversion")
    for shard in SHARDS:
        on(made, shard, "DELETE FROM routers_owner_slot; DELETE FROM routers_owner_account")
        on(made, shard, "SELECT routers_compile_owner()")
        on(made, shard, "DELETE FROM shop_order")
    run(made, "shards", "init")
    assert "Every shard is told version 1" in run(made, "shards", "tell", "--new")
    return made


def move(cluster: Cluster) -> None:
    """As a mover switches, with nothing to copy."""
    for shard, state, moved_to in (("shard01", "moved", "'shard02'"), ("shard02", "owner", "NULL")):
        values = f"({ACCOUNT}, '{state}', {moved_to})"
        columns = "(account_id, state, moved_to)"
        on(cluster, shard, f"INSERT INTO routers_owner_account {columns} VALUES {values}")
        on(cluster, shard, "SELECT routers_compile_owner()")


def test_a_process_with_an_old_map_is_refused_and_learns(told: Cluster) -> None:
    process = start(told, "stale", str(ACCOUNT), str(TIMES), role="app")
    assert process.stdout
    assert process.stdout.readline() == "shard01\n"
    move(told)
    said, _ = process.communicate("\n", timeout=120)
    found = json.loads(said.splitlines()[-1])
    assert found["outcomes"] == {"AccountMoved": TIMES}
    assert found["reads"] == {"AccountMoved": TIMES}
    assert found["shard"] == "shard02"
    titles = {shard: on(told, shard, "SELECT title FROM shop_order") for shard in SHARDS}
    assert titles == {"shard01": [("before",)], "shard02": [("after",)]}


def test_check_names_what_a_shard_was_not_told_and_tell_mends_it(told: Cluster) -> None:
    assert "2 shards are as version 1 of the map says" in run(told, "shards", "check")
    on(told, "shard02", "UPDATE routers_owner_slot SET state = 'moved', moved_to = 'shard01'")
    said = run(told, "shards", "check", "--json", status=1)
    (problem,) = json.loads(said)
    assert (problem["kind"], problem["where"]) == ("owner", "shard02")
    assert problem["text"].startswith("says otherwise than the map of 2048 slots: 1, 3, 5, 7, 9, …")
    assert "Every shard is told" in run(told, "shards", "tell")
    assert "2 shards are as version 1 of the map says" in run(told, "shards", "check")


def test_tell_moves_nobody(told: Cluster) -> None:
    order = f"(account_id, title) VALUES ({ACCOUNT}, 'stays')"
    on(told, "shard01", f"INSERT INTO shop_order {order}")
    pinned = f"slots, '{{\"{ACCOUNT}\": \"shard02\"}}', 'a test', now() FROM routers_mapversion"
    on(told, "default", f"INSERT INTO routers_mapversion SELECT 2, {pinned}")
    said = run(told, "shards", "tell", status=1)
    assert f"account {ACCOUNT} stays where its rows are" in said
    assert on(told, "shard02", "SELECT * FROM routers_owner_account") == []

"""`up` makes what is missing and touches nothing else; what it cannot do, it says."""

import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.harness import CHECKOUT, Cluster, eventually


def test_up_again_changes_nothing(fragile: Cluster) -> None:
    before = fragile.pids(), fragile.files()
    fragile.up()
    assert (fragile.pids(), fragile.files()) == before


def variant(fragile: Cluster, folder: Path, *changes: tuple[str, str]) -> Cluster:
    """The same root with a changed description."""
    text = fragile.description.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / "cluster.yml"
    path.write_text(text)
    return Cluster(path, fragile.root)


def setting(fragile: Cluster, alias: str, name: str) -> str:
    """A setting of a running PostgreSQL."""
    connection = fragile.connect(alias, "owner")
    cursor = connection.cursor()
    cursor.execute(f"SHOW {name}")
    value = str(cursor.fetchone()[0])
    connection.close()
    return value


def test_a_setting_that_can_be_reloaded_is(fragile: Cluster, tmp_path: Path) -> None:
    before = fragile.pids()
    said = variant(fragile, tmp_path, ("fsync: false", "fsync: true")).up()
    assert "reload shard01: its configuration changed" in said
    assert "reload shard01_replica: its configuration changed" in said
    eventually(lambda: setting(fragile, "shard01", "fsync") == "on")
    assert fragile.pids() == before
    fragile.up()
    eventually(lambda: setting(fragile, "shard01", "fsync") == "off")


def test_a_pool_size_is_reloaded(fragile: Cluster, tmp_path: Path) -> None:
    before = fragile.pids()
    assert "reload pooler" in variant(fragile, tmp_path, ("pool_size: 20", "pool_size: 19")).up()
    eventually(lambda: pool_size(fragile) == "19")
    assert fragile.pids() == before


def pool_size(fragile: Cluster) -> str:
    """What the running pooler says."""
    with contextlib.closing(fragile.pooler()) as console, console.cursor() as cursor:
        cursor.execute("SHOW CONFIG")
        return str({row[0]: row[1] for row in cursor.fetchall()}["default_pool_size"])


def test_a_limit_of_memory_is_reloaded(fragile: Cluster, tmp_path: Path) -> None:
    before = fragile.pids()
    variant(fragile, tmp_path, ("maxmemory: 128mb", "maxmemory: 127mb")).up()
    with fragile.redis("cache") as cache:
        eventually(lambda: cache.config_get("maxmemory") == {"maxmemory": str(127 * 2**20)})
    assert fragile.pids() == before


def test_what_needs_a_restart_restarts_postgresql_alone(fragile: Cluster, tmp_path: Path) -> None:
    before = fragile.pids()
    change = ("max_connections: 60", "max_connections: 61")
    assert "restart shard01" in variant(fragile, tmp_path, change).up()
    assert setting(fragile, "shard01", "max_connections") == "61"
    after = fragile.pids()
    changed = {name for name in before if before[name] != after[name]}
    fragile.run("down")
    fragile.up()  # a replica starts with a lower limit too
    assert setting(fragile, "shard01_replica", "max_connections") == "61"  # until it has seen it
    assert setting(fragile, "shard01", "max_connections") == "60"
    assert changed == {"default", "shard01", "shard01_replica", "shard02", "shard03", "shard04"}


def test_a_port_in_use_is_named_with_its_holder_and_the_line(fragile: Cluster) -> None:
    fragile.run("down")
    text = fragile.description.read_text().splitlines()
    line = next(number for number, words in enumerate(text, 1) if "27433" in words)
    with socket.create_server(("127.0.0.1", 27433)):
        said = fragile.run("up", "--only", "servers", status=1)
    place = f"scratch.yml:{line}"
    if os.geteuid() == 0:
        assert f"(pid {os.getpid()})" in said
    assert f"Port 27433 for 'shard03' is held by {'python' if os.geteuid() == 0 else ''}" in said
    assert f"stop that, or change .cluster/{place}." in said
    assert not fragile.pids()


def test_a_child_that_dies_is_named_with_its_log(fragile: Cluster) -> None:
    fragile.run("down")
    control = fragile.root / "postgres" / "shard04" / "PG_VERSION"
    kept = control.read_text()
    control.write_text("9.1\n")
    try:
        said = fragile.run("up", "--only", "servers", status=1)
    finally:
        control.write_text(kept)
    assert "shard04 does not come up" in said
    assert f"The log is {fragile.root}/logs/shard04.log; its last lines:" in said
    assert "data directory was initialized by PostgreSQL version 9.1" in said


def test_lost_passwords_are_not_replaced_by_new_ones(fragile: Cluster) -> None:
    fragile.run("down")
    hidden = fragile.root / "hidden.json"
    (fragile.root / "secrets.json").rename(hidden)
    try:
        said = fragile.run("up", "--only", "servers", status=1)
        assert "secrets.json is gone" in said
        assert not (fragile.root / "secrets.json").exists()
    finally:
        hidden.rename(fragile.root / "secrets.json")


@pytest.mark.parametrize("seconds", [0.5, 1.5, 3.0])
def test_up_killed_at_any_instant_and_run_again(fragile: Cluster, seconds: float) -> None:
    fragile.run("down")
    fresh = Cluster(fragile.description, fragile.root.with_name("scratch-killed"))
    fresh.run("clean", "--yes")
    command = [sys.executable, "-m", "infra", *fresh.options, "up", "--only", "servers"]
    process = subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.DEVNULL)
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=seconds)
        process.kill()
        process.wait()
        fresh.up()
        assert all(fresh.rows()[name]["healthy"] for name in ("default", "shard04", "pooler"))
    finally:
        fresh.run("clean", "--yes")
    assert not fresh.root.exists() or not list(fresh.root.iterdir())

"""kill -9 of anything: it comes back by itself, and what was acknowledged is still there."""

import os
from contextlib import closing

import psutil
import pytest

from tests.cluster.harness import Cluster, eventually

SHARDS = ["shard01", "shard01_replica", "shard02", "shard03", "shard04"]
SERVERS = ["default", *SHARDS, "pooler", "cache", "broker"]


@pytest.mark.parametrize("name", SERVERS)
def test_a_killed_server_comes_back(fragile: Cluster, name: str) -> None:
    pid = fragile.kill(name)
    fragile.wait_for_another(name, pid)
    eventually(lambda: fragile.connect("shard01").close() is None)


def test_committed_rows_survive_a_killed_postgresql(fragile: Cluster) -> None:
    with closing(fragile.connect("shard02", "owner")) as owner:
        owner.cursor().execute("CREATE TABLE IF NOT EXISTS kill_test (n int)")
        owner.cursor().execute("TRUNCATE kill_test")
    with closing(fragile.connect("shard02")) as application:
        for n in range(200):
            application.cursor().execute("INSERT INTO kill_test VALUES (%s)", [n])
    fragile.wait_for_another("shard02", fragile.kill("shard02"))
    with closing(fragile.connect("shard02", "owner")) as owner:
        cursor = owner.cursor()
        cursor.execute("SELECT count(DISTINCT n) FROM kill_test")
        assert cursor.fetchone()[0] == 200
        cursor.execute("DROP TABLE kill_test")


def test_queued_tasks_survive_a_killed_broker_and_cached_pages_need_not(fragile: Cluster) -> None:
    with fragile.redis("broker") as broker:
        broker.delete("kill_test")
        broker.rpush("kill_test", *range(500))
    fragile.wait_for_another("broker", fragile.kill("broker"))
    with fragile.redis("broker") as broker:
        assert broker.llen("kill_test") == 500
        broker.delete("kill_test")


def test_up_takes_over_from_a_killed_supervisor_and_never_runs_two(fragile: Cluster) -> None:
    before = fragile.pids()
    fragile.kill_supervisor()
    assert "orphaned" in fragile.rows()["shard01"]["health"]
    assert "stop processes whose supervisor was killed" in fragile.up()
    assert not [pid for pid in before.values() if psutil.pid_exists(pid)]
    assert set(SERVERS) <= fragile.pids().keys()
    assert len(postmasters(str(fragile.root / "postgres" / "shard01"))) == 1


def postmasters(directory: str) -> set[int]:
    """Those that serve this directory; their children have the same words at their very first."""
    processes = psutil.process_iter(["cmdline", "ppid"])
    found = {p.pid: p.info["ppid"] for p in processes if directory in (p.info["cmdline"] or [])}
    return {pid for pid, parent in found.items() if parent not in found}


def test_down_stops_what_a_killed_supervisor_left(fragile: Cluster) -> None:
    before = fragile.pids()
    fragile.kill_supervisor()
    fragile.run("down")
    assert not [pid for pid in before.values() if psutil.pid_exists(pid)]
    assert "Nothing runs." in fragile.run("down")


def test_a_pid_file_from_before_a_reboot_stops_nothing(fragile: Cluster) -> None:
    fragile.run("down")
    path = fragile.root / "postgres" / "shard01" / "postmaster.pid"
    owner = path.parent.stat()
    path.write_text(f"{os.getpid()}\n{path.parent}\n0\n27431\n\n127.0.0.1\n")
    os.chown(path, owner.st_uid, owner.st_gid)
    fragile.up()
    assert fragile.rows()["shard01"]["healthy"]

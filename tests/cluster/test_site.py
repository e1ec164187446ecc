"""What `up` does with a site: prepares it, runs it, says where it is. The site is a toy."""

import os
import urllib.request
from pathlib import Path

import pytest

from tests.cluster.harness import Cluster


def fetch(cluster: Cluster) -> str:
    """What the toy answers: the role in its configuration."""
    with urllib.request.urlopen(cluster.config()["public_url"], timeout=10) as response:  # noqa: S310
        return str(response.read().decode())


def prepared(cluster: Cluster) -> list[str]:
    """The steps that ran, in order."""
    return (cluster.root / "sqlite" / "prepared.txt").read_text().splitlines()


def test_up_prepares_starts_and_says_what_to_try(sqlite: Cluster) -> None:
    said = sqlite.run("up", "--engine", "sqlite")
    assert sqlite.config()["public_url"] in said
    assert f"log in as toy@fulcrum.test with the password {sqlite.secret('demo_password')}" in said
    assert fetch(sqlite) == "app"
    assert sqlite.pids().keys() == {"web"}
    assert prepared(sqlite) == ["always 10", "once 10"]


def test_up_again_repeats_only_what_may_be_repeated(sqlite: Cluster) -> None:
    sqlite.run("up", "--engine", "sqlite")
    before = sqlite.pids(), sqlite.files()
    sqlite.run("up", "--engine", "sqlite")
    assert (sqlite.pids(), sqlite.files()) == before
    assert prepared(sqlite) == ["always 10", "once 10", "always 10"]


def test_a_step_that_fails_is_named_with_its_log_and_runs_again(sqlite: Cluster) -> None:
    sqlite.run("up", "--engine", "sqlite")
    sqlite.run("down")
    trap = sqlite.root / "sqlite" / "fail-always"
    trap.touch()
    said = sqlite.run("up", "--engine", "sqlite", status=1)
    log = sqlite.root / "logs" / "prepare-1-prepare-as-owner.log"
    assert "prepare as owner: " in said
    assert f"The log is {log}; its last lines:" in said
    assert "always was told to fail" in said
    trap.unlink()
    sqlite.run("up", "--engine", "sqlite")
    assert fetch(sqlite) == "app"


def test_a_killed_web_server_comes_back(sqlite: Cluster) -> None:
    sqlite.run("up", "--engine", "sqlite")
    sqlite.wait_for_another("web", sqlite.kill("web"))
    assert fetch(sqlite) == "app"


def test_a_site_that_cannot_start_is_named_with_its_log(sqlite: Cluster) -> None:
    text = sqlite.description.read_text()
    sqlite.description.write_text(text.replace("toy:application", "toy:nothing"))
    said = sqlite.run("up", "--engine", "sqlite", status=1)
    assert "web does not come up" in said
    assert f"The log is {sqlite.root}/logs/web.log; its last lines:" in said
    assert "nothing" in said.partition("its last lines:")[2]
    sqlite.description.write_text(text)
    sqlite.run("up", "--engine", "sqlite")
    assert fetch(sqlite) == "app"


def test_one_root_does_not_run_both_engines(sqlite: Cluster, fragile: Cluster) -> None:
    sqlite.run("up", "--engine", "sqlite")
    said = sqlite.run("up", status=1)
    assert "runs with ENGINE=sqlite: `make down` first" in said
    said = fragile.run("up", "--engine", "sqlite", status=1)
    assert "runs with ENGINE=postgresql: `make down` first" in said


def test_status_shows_processes_and_what_shards_hold(fragile: Cluster) -> None:
    fragile.run("up")
    assert fetch(fragile) == "app"
    said = fragile.run("status", status=0)
    line = next(line for line in said.splitlines() if line.startswith("shard01")).split()
    assert line[-5:] == ["3", "12,345", "1.0", "MiB", "ok"]
    rows = fragile.rows()
    assert list(rows)[-3:] == ["web", "worker", "beat"]
    assert all(row["healthy"] and row["pid"] for row in rows.values())
    fragile.wait_for_another("worker", fragile.kill("worker"))
    fragile.wait_for_another("beat", fragile.kill("beat"))


def test_a_path_too_long_for_a_socket(sqlite: Cluster) -> None:
    long = Cluster(sqlite.description, sqlite.root.with_name("scratch-" + "long-" * 20 + "path"))
    try:
        long.run("up", "--engine", "sqlite")
        assert fetch(long) == "app"
    finally:
        long.run("clean", "--yes")


def test_clean_asks_and_stays_inside_the_root(sqlite: Cluster, tmp_path: Path) -> None:
    sqlite.run("up", "--engine", "sqlite")
    assert "Nothing was deleted" in sqlite.run("clean", status=1)
    assert fetch(sqlite) == "app"
    precious = sqlite.root.with_name("scratch-precious")
    precious.mkdir(exist_ok=True)
    (precious / "data").touch()
    (sqlite.root / "redis").rename(sqlite.root / "old")
    (sqlite.root / "redis").symlink_to(precious)
    sqlite.run("clean", "--yes")
    assert (precious / "data").exists()
    assert [path.name for path in sqlite.root.iterdir()] == ["old"]
    os.rename(sqlite.root / "old", sqlite.root / "redis")
    (precious / "data").unlink()
    precious.rmdir()


@pytest.mark.parametrize("command", [["psql", "shard09"], ["logs", "nobody"]])
def test_an_unknown_name_is_answered_with_the_known_ones(
    scratch: Cluster, command: list[str]
) -> None:
    assert "shard04" in scratch.run(*command, status=1)

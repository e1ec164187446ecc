"""What is refused before anything starts, and what the refusal says."""

import os
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest

from infra import packages, preflight, user
from infra.console import Console
from infra.description import Loaded, load
from infra.errors import ClusterError
from infra.layout import CHECKOUT, SOCKET_PATH_BYTES, Layout
from infra.yamlsource import read

LOCAL = CHECKOUT / "infra" / "cluster.yml"


def changed(tmp_path: Path, old: str, new: str) -> Loaded:
    """The local cluster's description with a change."""
    path = tmp_path / "cluster.yml"
    path.write_text(LOCAL.read_text().replace(old, new))
    return load(path)


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=5 * 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(ClusterError, match=f"{tmp_path} has 5 MiB free and 1024 MiB are needed"):
        preflight.check_disk(Layout(tmp_path))


def test_a_taken_port_is_named_with_its_holder_and_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        loaded = changed(tmp_path, "port: 16380", f"port: {port}")
        with pytest.raises(ClusterError) as caught:
            preflight.check_ports(loaded, {"broker"}, {})
    line = read(tmp_path / "cluster.yml").lines["caches", 1, "port"]
    holder = rf"Port {port} for 'broker' is held by \S+ \(pid {os.getpid()}\): stop that, or"
    assert caught.match(rf"{holder} change {tmp_path}/cluster.yml:{line}\.")


def test_a_port_held_by_another_user_is_named_from_what_root_saw(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        loaded = changed(tmp_path, "port: 16380", f"port: {port}")
        seen: preflight.Listeners = {port: (4711, "redis-server")}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(preflight, "listeners", dict)
            with pytest.raises(ClusterError, match=r"is held by redis-server \(pid 4711\)"):
                preflight.check_ports(loaded, {"broker"}, seen)
            with pytest.raises(ClusterError, match="is held by another user's process"):
                preflight.check_ports(loaded, {"broker"}, {})


def test_a_port_of_what_runs_already_is_not_looked_at(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        loaded = changed(tmp_path, "port: 16380", f"port: {taken.getsockname()[1]}")
        preflight.check_ports(loaded, set(), {})


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "  - { host: 127.0.0.1, concurrency: 4 }",
            "  - { host: 127.0.0.1, concurrency: 4 }\n  - { host: 127.0.0.1, concurrency: 4 }",
            "not workers: use Ansible",
        ),
        (
            "host: 127.0.0.1, port: 15431",
            "host: 192.0.2.7, port: 15431",
            "which is not 192.0.2.7: use Ansible",
        ),
        (
            "# - { role: replica, host: 127.0.0.1",
            "- { role: replica, host: 192.0.2.8",
            "which is not 192.0.2.8: use Ansible",
        ),
    ],
)
def test_a_cluster_for_several_hosts_is_for_ansible(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    with pytest.raises(ClusterError, match=said):
        preflight.check_local(changed(tmp_path, old, new).description)


def test_a_replica_is_for_this_machine_and_its_port_is_looked_at(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        replica = f"- {{ role: replica, host: 127.0.0.1, port: {port} }}"
        commented = "# - { role: replica, host: 127.0.0.1, port: 15441 }"
        loaded = changed(tmp_path, commented, replica)
        preflight.check_local(loaded.description)
        with pytest.raises(ClusterError, match=f"Port {port} for 'shard01_replica' is held by"):
            preflight.check_ports(loaded, {"shard01_replica"}, {})


def test_without_root_and_sudo_the_packages_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(name: str, **options: Any) -> str | None:
        return "/usr/bin/apt-get" if name == "apt-get" else None

    monkeypatch.setattr(packages, "POSTGRES_ROOT", tmp_path)
    monkeypatch.setattr(shutil, "which", nothing)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ClusterError) as caught:
        packages.install_missing(Console(), Layout(tmp_path))
    assert caught.match("Missing: postgresql pgbouncer redis-server, and this user may not")
    assert caught.match("apt-get install --no-install-recommends postgresql pgbouncer redis-server")
    assert caught.match("make up ENGINE=sqlite")


def test_the_highest_postgresql_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("9", "15", "17"):
        program = tmp_path / version / "bin" / "postgres"
        program.parent.mkdir(parents=True)
        program.touch()
    monkeypatch.setattr(packages, "POSTGRES_ROOT", tmp_path)
    assert packages._postgres() == str(tmp_path / "17" / "bin" / "postgres")


def test_an_interpreter_that_the_servers_user_cannot_run_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(ClusterError, match=r"run as the user fulcrum, who cannot reach .* to /srv"):
        user._check_access("fulcrum")


def test_a_long_root_has_its_socket_elsewhere(tmp_path: Path) -> None:
    short, long = Layout(Path("/srv/x")), Layout(Path("/srv") / ("x" * 200))
    assert short.socket == Path("/srv/x/supervisor.sock")
    assert len(str(long.socket)) < SOCKET_PATH_BYTES
    assert long.socket != Layout(Path("/srv") / ("x" * 201)).socket

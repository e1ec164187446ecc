"""The pooler's files of real hosts, and what looks after its processes there."""

import os
import re
import shutil
from pathlib import Path

import pytest

from infra.hosts import Cluster, Facts, HostFile, files, variables
from infra.hosts.ports import local_port
from infra.schema import Description, Node, Shard
from tests.unit.infra.example import tool

FACTS = Facts(memory_mb=4096, cores=4)


@pytest.fixture(scope="module")
def made(cluster: Cluster) -> dict[str, HostFile]:
    return {Path(file.path).name: file for file in files("pooler", cluster, "app1", FACTS)}


def with_processes(d: Description, count: int) -> Description:
    poolers = [pooler.model_copy(update={"processes": count}) for pooler in d.poolers]
    return d.model_copy(update={"poolers": poolers})


def test_every_process_has_a_file_a_socket_and_a_number(
    cluster: Cluster, made: dict[str, HostFile]
) -> None:
    first, second = made["process-1.ini"].content, made["process-2.ini"].content
    assert "%include /etc/fulcrum/pooler/pooler.ini\n" in first
    for line in ("peer_id = 2", "unix_socket_dir = /run/fulcrum-pooler/2", "so_reuseport = 1"):
        assert f"\n{line}\n" in second
    address = cluster.description.addresses["app1"]
    assert f"\nlisten_addr = {address}\n" in first
    assert re.search(
        r"\[peers\]\n1 = host=/run/fulcrum-pooler/1 .*\n2 =", made["pooler.ini"].content
    )


def test_a_process_more_leaves_the_files_of_the_others_as_they_are(cluster: Cluster) -> None:
    more = Cluster(with_processes(cluster.description, 3), cluster.credentials, cluster.authority)
    before = {f.path: f.content for f in files("pooler", cluster, "app1", FACTS)}
    after = {f.path: f.content for f in files("pooler", more, "app1", FACTS)}
    changed = {path for path in after if before.get(path) != after[path]}
    assert changed == {"/etc/fulcrum/pooler/pooler.ini", "/etc/fulcrum/pooler/process-3.ini"}
    assert variables("pooler", more, "app1", FACTS)["processes"] == [1, 2, 3]


def test_the_settings_of_all_are_not_set_back_by_a_second_header(
    made: dict[str, HostFile],
) -> None:
    assert "[pgbouncer]" not in re.sub(r"^;.*$", "", made["process-1.ini"].content, flags=re.M)


def test_a_restart_is_needed_only_for_a_process_s_own_file(made: dict[str, HostFile]) -> None:
    fixed = ("listen_addr", "listen_port", "unix_socket_dir", "so_reuseport", "peer_id", "pidfile")
    assert not re.search(rf"^({'|'.join(fixed)}) ", made["pooler.ini"].content, re.M)


def test_databases_are_at_haproxy_by_the_name_in_the_certificate(
    cluster: Cluster, made: dict[str, HostFile]
) -> None:
    assert "\nshard01 = host=shard01 port=20002 dbname=shard01\n" in made["pooler.ini"].content
    replica = "\nshard01_replica = host=shard01 port=21002 dbname=shard01\n"
    assert replica in made["pooler.ini"].content
    assert "\ncatalog = host=catalog port=20000 dbname=catalog\n" in made["pooler.ini"].content
    assert "server_tls_sslmode = verify-full" in made["pooler.ini"].content
    assert "client_tls_sslmode = require" in made["pooler.ini"].content


def test_no_password_is_on_the_host(cluster: Cluster, made: dict[str, HostFile]) -> None:
    secrets = [value for value in vars(cluster.credentials).values() if value]
    for file in made.values():
        assert not [secret for secret in secrets if secret in file.content], file.path
    users = made["userlist.txt"]
    assert users.secret
    assert f'"fulcrum_app" "{cluster.credentials.verifier("app")}"' in users.content


def test_who_may_log_in_from_where(cluster: Cluster, made: dict[str, HostFile]) -> None:
    d = cluster.description
    rules = [
        line.split() for line in made["hba.conf"].content.splitlines() if line and line[0] != "#"
    ]
    app = [rule for rule in rules if "fulcrum_app,fulcrum_app_b" in rule]
    hosts = {app.host for app in d.apps} | {worker.host for worker in d.workers}
    assert {rule[3] for rule in app} == {f"{d.addresses[host]}/32" for host in hosts}
    assert {rule[0] for rule in app} == {"hostssl"}
    assert {rule[-1] for rule in rules[-2:]} == {"reject"}
    assert not [rule for rule in rules if "fulcrum_admin" in rule]


def test_ports_stay_when_shards_and_replicas_come(cluster: Cluster) -> None:
    d = cluster.description
    before = {alias: local_port(d, alias) for alias in d.servers}
    shard = Shard(name="another", number=511, nodes=[Node(role="primary", host="db1", port=5943)])
    first, *others = d.shards
    replica = Node(role="replica", host="db4", port=5433)
    wider = first.model_copy(update={"nodes": [*first.nodes, replica]})
    more = d.model_copy(update={"shards": [wider, *others, shard]})
    after = {alias: local_port(more, alias) for alias in more.servers}
    assert {alias: after[alias] for alias in before} == before
    assert len(set(after.values())) == len(after)
    assert max(after.values()) < 32768


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
@pytest.mark.parametrize(
    ("kind", "text", "right"),
    [
        ("ini", "[databases]\na = host=b\n[pgbouncer]\npool_mode = transaction\n", True),
        ("ini", "[pgbouncer]\npool_mode = transactions\n", False),
        ("ini", "[databases]\nmax_client_conn = 5\n[pgbouncer]\n", False),
        ("ini", "[pgbouncer]\nno_such_setting = 5\n", False),
        ("auth_file", '"somebody" "SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy"\n', True),
        ("auth_file", "somebody secret\n", False),
        ("auth_hba_file", "host all all 0.0.0.0/0 reject\n", True),
        ("auth_hba_file", "hst all all 0.0.0.0/0 reject\n", False),
    ],
)
def test_a_file_that_pgbouncer_does_not_understand_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, text: str, right: bool
) -> None:
    program = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin")
    if not program:
        pytest.skip("needs pgbouncer")
    pooler_check, file = tool("pooler", "pooler_check"), tmp_path / "file"
    file.write_text(text)
    user = ("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--")
    monkeypatch.setattr(pooler_check, "AS_USER", user)
    assert bool(list(pooler_check.complaints(kind, file))) is not right


def test_the_settings_of_a_process_are_read(made: dict[str, HostFile]) -> None:
    settings = tool("pooler", "fulcrum_pooler").settings(made["process-1.ini"].content)
    assert settings["peer_id"] == "1"
    assert settings.keys() >= {"listen_addr", "listen_port", "so_reuseport", "unix_socket_dir"}


def test_the_table_adds_up() -> None:
    fulcrum_pooler = tool("pooler", "fulcrum_pooler")
    pool = {"database": "shard01", "cl_active": "3", "cl_waiting": "2"}
    pool |= {"maxwait": "1", "maxwait_us": "250000", "sv_active": "4", "sv_idle": "1"}
    pool |= {"sv_used": "0", "sv_login": "1"}
    database = {"name": "shard01", "pool_size": "20", "reserve_pool_size": "5", "paused": "1"}
    row = fulcrum_pooler._row(pool, database, "active")
    assert row == ("shard01", "3", "2", "1250", "4+2/25", "paused")
    without = fulcrum_pooler._row({}, database | {"paused": "0"}, "active")
    assert without == ("shard01", "0", "0", "0", "0+0/25", "active")
    head, line = fulcrum_pooler.table([("app1/1", *row)]).splitlines()
    assert head.index("waiting") == line.index("2 ")
    assert len(head) <= 72  # Ansible breaks longer lines

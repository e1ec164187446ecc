"""The site on real hosts: who runs what, what each user may read, and everything over TLS."""

import json
import re
from dataclasses import asdict

import pytest

from infra.authority import Authority
from infra.credentials import Credentials
from infra.hosts import Cluster, Facts, HostFile, files, variables
from infra.inventory_read import read_inventory
from tests.unit.infra.example import EXAMPLE

FACTS = Facts(memory_mb=4096, cores=2)
CA = "/etc/fulcrum/tls/ca.crt"


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    """The example: app1 and app2 are app hosts, workers and poolers; shard01 is on db2 and db5."""
    description = read_inventory(EXAMPLE).description
    return Cluster(description, Credentials.generate(), Authority("", ""))


def made(cluster: Cluster, host: str) -> dict[str, HostFile]:
    return {file.path: file for file in files("app", cluster, host, FACTS)}


def site(cluster: Cluster, host: str, name: str = "/var/lib/fulcrum/site.json") -> dict[str, dict]:
    return json.loads(made(cluster, host)[name].content)


def unit(cluster: Cluster, host: str, name: str) -> str:
    return made(cluster, host)[f"/etc/systemd/system/fulcrum-{name}"].content


OWNER = "/var/lib/fulcrum-owner/site-owner.json"


def test_what_is_periodic_runs_on_one_host(cluster: Cluster) -> None:
    units = {host: variables("app", cluster, host, FACTS)["units"] for host in ("app1", "app2")}
    assert units["app2"] == ["fulcrum-web.socket", "fulcrum-web.service", "fulcrum-worker.service"]
    assert units["app1"] == [*units["app2"], "fulcrum-beat.service"]
    for host, names in units.items():
        there = {path for path in made(cluster, host) if path.startswith("/etc/systemd/")}
        assert there == {f"/etc/systemd/system/{name}" for name in names}


def test_a_host_that_only_has_tasks_serves_nothing(cluster: Cluster) -> None:
    d = cluster.description
    worker = d.workers[1].model_copy(update={"host": "db1", "concurrency": 7})
    changed = Cluster(
        d.model_copy(update={"workers": [d.workers[0], worker]}),
        cluster.credentials,
        cluster.authority,
    )
    assert variables("app", changed, "db1", FACTS)["units"] == ["fulcrum-worker.service"]
    assert "--concurrency 7 " in unit(changed, "db1", "worker.service")
    assert "/var/lib/fulcrum/conf/gunicorn.conf.py" not in made(changed, "db1")
    assert variables("app", changed, "db1", FACTS)["probe"] == ""


def test_only_the_first_app_host_has_the_owners_passwords(cluster: Cluster) -> None:
    secrets = asdict(cluster.credentials)
    names = ("owner", "replication", "demo_password")
    for name in names:
        having = [file for file in made(cluster, "app1").values() if secrets[name] in file.content]
        assert having, name
        assert all(f.group == "fulcrum-owner" or f.mode == 0o600 for f in having), name
    for file in made(cluster, "app2").values():
        assert not [name for name in names if secrets[name] in file.content], file.path


def test_no_secret_is_in_a_file_that_everybody_may_read(cluster: Cluster) -> None:
    secrets = {k: v for k, v in asdict(cluster.credentials).items() if k != "salt"}
    for host in ("app1", "app2"):
        for file in made(cluster, host).values():
            found = [name for name, value in secrets.items() if value in file.content]
            assert not found or (file.secret and file.owner == "root"), (file.path, found)
            assert secrets["superuser"] not in file.content


def test_the_application_reaches_databases_by_any_pooler_over_tls(cluster: Cluster) -> None:
    assert site(cluster, "app2")["databases"]["shard02"] == {
        "host": "app1,app2",
        "port": "6432,6432",
        "name": "shard02",
        "user": "fulcrum_app",
        "password": cluster.credentials.app,
        "number": 2,
        "options": {"sslmode": "verify-full", "sslrootcert": CA, "load_balance_hosts": "random"},
    }
    assert site(cluster, "app2")["databases"]["shard01_replica"]["name"] == "shard01_replica"


def test_the_owner_reaches_whichever_node_is_primary(cluster: Cluster) -> None:
    databases = site(cluster, "app1", OWNER)["databases"]
    verified = {"sslmode": "verify-full", "sslrootcert": CA}
    assert databases["shard01"] == {
        "host": "db2,db5",
        "port": "5433,5433",
        "name": "shard01",
        "user": "fulcrum_owner",
        "password": cluster.credentials.owner,
        "number": 1,
        "options": {**verified, "target_session_attrs": "read-write"},
    }
    replica = databases["shard01_replica"]
    assert (replica["host"], replica["name"]) == ("db2,db5", "shard01")
    assert replica["options"]["target_session_attrs"] == "prefer-standby"
    source = site(cluster, "app1", OWNER)["references"]
    assert (source["host"], source["sslmode"]) == ("db1", "verify-full")
    assert source["target_session_attrs"] == "read-write"


def test_redis_and_consoles_are_reached_over_tls(cluster: Cluster) -> None:
    found = site(cluster, "app1")
    for url in (found["cache"], found["broker"]):
        assert url.startswith("rediss://"), url
        assert f"ssl_cert_reqs=required&ssl_ca_certs={CA}" in url
    assert len(found["pooler_consoles"]) == 2
    assert all(f" sslmode=verify-full sslrootcert={CA}" in c for c in found["pooler_consoles"])


def test_systemd_holds_the_port_and_gunicorn_says_when_it_is_ready(cluster: Cluster) -> None:
    socket, web = unit(cluster, "app1", "web.socket"), unit(cluster, "app1", "web.service")
    assert "\nListenStream=192.0.2.21:8000\n" in socket
    assert "\nType=notify\n" in web
    assert "\nRequires=fulcrum-web.socket\n" in web
    assert "\nExecReload=/bin/kill -HUP $MAINPID\n" in web
    line = "python -m gunicorn config.wsgi -c /var/lib/fulcrum/conf/gunicorn.conf.py"
    assert f"\nExecStart=/usr/local/lib/fulcrum/run {line}\n" in web
    settings = made(cluster, "app1")["/var/lib/fulcrum/conf/gunicorn.conf.py"].content
    assert '\nforwarded_allow_ips = "192.0.2.31"\n' in settings
    compile(settings, "gunicorn.conf.py", "exec")


def test_every_process_is_an_ordinary_user_who_writes_its_state_only(cluster: Cluster) -> None:
    for name in ("web", "worker", "beat"):
        text = unit(cluster, "app1", f"{name}.service")
        for line in ("User=fulcrum", "ProtectSystem=strict", "NoNewPrivileges=true"):
            assert f"\n{line}\n" in text, (name, line)
        own = " /var/lib/fulcrum/beat" if name == "beat" else ""
        assert f"\nReadWritePaths=/var/lib/fulcrum/state{own}\n" in text


def test_scripts_begin_with_their_interpreter(cluster: Cluster) -> None:
    scripts = [file for file in made(cluster, "app1").values() if file.mode == 0o755]
    assert len(scripts) == 3
    assert all(file.content.startswith("#!/bin/sh\n") for file in scripts)


def test_steps_after_the_migrations_are_the_owners_or_the_applications(cluster: Cluster) -> None:
    steps = variables("app", cluster, "app1", FACTS)["steps"]
    assert [(step["role"], step["words"][2], bool(step["stamp"])) for step in steps] == [
        ("owner", "reference", False),
        ("owner", "reference", False),
        ("owner", "load_tasks", False),
        ("app", "seed_demo", True),
    ]


def test_nothing_has_a_date_and_the_same_comes_again(cluster: Cluster) -> None:
    for host in ("app1", "app2"):
        assert made(cluster, host) == made(cluster, host)
        for file in made(cluster, host).values():
            assert not re.search(r"20\d\d-\d\d|\d\d:\d\d:\d\d", file.content), file.path

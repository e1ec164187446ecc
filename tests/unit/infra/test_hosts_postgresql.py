"""What a database's host and a pooler's HAProxy get: pure, the same every time, only who must."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from infra import hosts
from infra.hosts import Cluster, Facts
from infra.hosts.ports import local_port
from infra.layout import CHECKOUT
from infra.tuning import tuning

FACTS = Facts(memory_mb=16384, cores=8)
SERVER: dict[str, Any] = {
    "memory_mb": 16384,
    "cores": 8,
    "rotational": False,
    "databases_on_host": 1,
    "alone": True,
    "max_connections": 200,
}


def content(cluster: Cluster, service: str, host: str, path: str, facts: Facts = FACTS) -> str:
    [found] = [f for f in hosts.files(service, cluster, host, facts) if f.path == path]
    return found.content


def patroni(cluster: Cluster, host: str, name: str, facts: Facts = FACTS) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(
        content(cluster, "postgresql", host, f"/etc/patroni/{name}.yml", facts)
    )
    return loaded


def hba(cluster: Cluster, host: str, name: str) -> list[tuple[str, ...]]:
    return [tuple(line.split()) for line in patroni(cluster, host, name)["postgresql"]["pg_hba"]]


def test_a_stronger_server_is_used() -> None:
    weak, strong = tuning(**SERVER), tuning(**SERVER | {"memory_mb": 65536, "cores": 32})
    assert (weak["shared_buffers"], strong["shared_buffers"]) == ("4096MB", "16384MB")
    for key in ("effective_cache_size", "work_mem", "maintenance_work_mem", "max_wal_size"):
        assert int(weak[key].removesuffix("MB")) < int(strong[key].removesuffix("MB")), key
    assert (weak["max_parallel_workers"], strong["max_parallel_workers"]) == (8, 32)


def test_databases_of_one_host_share_its_memory_and_leave_half_to_others() -> None:
    assert tuning(**SERVER | {"databases_on_host": 2})["shared_buffers"] == "2048MB"
    assert tuning(**SERVER | {"alone": False})["shared_buffers"] == "2048MB"


def test_connections_that_all_sort_fit_into_the_memory() -> None:
    for memory in (1024, 4096, 16384, 262144):
        for connections in (100, 500):
            given = tuning(**SERVER | {"memory_mb": memory, "max_connections": connections})
            sort, buffers = (
                int(given[k].removesuffix("MB")) for k in ("work_mem", "shared_buffers")
            )
            assert sort == 4 or sort * connections + buffers <= memory


def test_the_kind_of_disk_counts() -> None:
    spinning = tuning(**SERVER | {"rotational": True})
    assert (spinning["random_page_cost"], tuning(**SERVER)["random_page_cost"]) == (4.0, 1.1)


def test_what_was_gathered_of_a_host_reaches_postgresql(cluster: Cluster) -> None:
    small = patroni(cluster, "db2", "shard01", Facts(memory_mb=4096, cores=2))
    large = patroni(cluster, "db2", "shard01", Facts(memory_mb=8192, cores=2))
    assert small["postgresql"]["parameters"]["shared_buffers"] == "1024MB"
    assert large["postgresql"]["parameters"]["shared_buffers"] == "2048MB"
    assert small["tags"]["version"] != large["tags"]["version"]


def test_a_size_in_the_inventory_counts_more(cluster: Cluster) -> None:
    d = cluster.description
    fixed = d.postgres.model_copy(update={"shared_buffers": "512MB"})
    other = replace(cluster, description=d.model_copy(update={"postgres": fixed}))
    assert patroni(other, "db2", "shard01")["postgresql"]["parameters"]["shared_buffers"] == "512MB"


def test_the_same_input_gives_the_same_files_in_order(cluster: Cluster) -> None:
    for service, host in (("postgresql", "db2"), ("haproxy", "app1")):
        made = hosts.files(service, cluster, host, FACTS)
        assert made == hosts.files(service, cluster, host, FACTS)
        assert [file.path for file in made] == sorted(file.path for file in made)


def test_every_node_has_the_same_shared_part_and_its_version_is_told(cluster: Cluster) -> None:
    path = "/etc/fulcrum/postgresql/shard01/dynamic.yml"
    texts = {content(cluster, "postgresql", host, path) for host in ("db2", "db5")}
    assert len(texts) == 1
    shared = yaml.safe_load(texts.pop())
    assert shared == patroni(cluster, "db2", "shard01")["bootstrap"]["dcs"]
    [database] = hosts.variables("postgresql", cluster, "db5", FACTS)["databases"]
    assert shared["postgresql"]["parameters"]["fulcrum.shared"] == database["shared"]
    assert patroni(cluster, "db5", "shard01")["tags"]["version"] == database["settings"]


def test_settings_that_must_be_equal_are_in_the_shared_part_only(cluster: Cluster) -> None:
    found = patroni(cluster, "db2", "shard01")
    own, shared = (part["postgresql"]["parameters"] for part in (found, found["bootstrap"]["dcs"]))
    assert not set(own) & set(shared)
    assert shared["wal_level"] == "logical"
    assert {"port", "hba_file", "cluster_name", "max_connections"}.isdisjoint(own)


def test_a_lease_fits_patronis_own_rule(cluster: Cluster) -> None:
    dcs = patroni(cluster, "db2", "shard01")["bootstrap"]["dcs"]
    assert dcs["loop_wait"] + 2 * dcs["retry_timeout"] <= dcs["ttl"]
    assert dcs["synchronous_mode"] is True
    assert dcs["synchronous_mode_strict"] is False


def test_nobody_comes_in_without_tls_but_postgres_and_monitoring_on_the_host(
    cluster: Cluster,
) -> None:
    for host, name in (("db1", "catalog"), ("db2", "shard01"), ("db5", "shard01")):
        allowed = [line for line in hba(cluster, host, name) if line[-1] != "reject"]
        assert {line[0] for line in allowed} == {"hostssl", "local"}
        assert {(line[2], line[3]) for line in allowed if line[0] == "local"} == {
            ("postgres", "peer"),
            ("+fulcrum_monitor", "scram-sha-256"),
        }
        assert not [line for line in allowed if line[0] == "hostssl" and line[2] == "postgres"]


def test_only_poolers_log_in_as_the_application_and_only_sites_as_the_owner(
    cluster: Cluster,
) -> None:
    lines = hba(cluster, "db3", "shard02")
    apps = {f"{cluster.description.addresses[host]}/32" for host in ("app1", "app2")}
    for role in ("+fulcrum_app", "+fulcrum_owner"):
        assert {line[3] for line in lines if line[2] == role} == apps
        assert {line[1] for line in lines if line[2] == role} == {"shard02"}


def test_the_application_shows_a_certificate_so_its_password_alone_opens_nothing(
    cluster: Cluster,
) -> None:
    lines = [line for line in hba(cluster, "db3", "shard02") if line[2] == "+fulcrum_app"]
    assert {line[-1] for line in lines} == {"clientcert=verify-ca"}
    settings = patroni(cluster, "db3", "shard02")["postgresql"]["parameters"]
    assert settings["ssl_ca_file"] == "/etc/fulcrum/tls/ca.crt"
    pooler = content(cluster, "pooler", "app1", "/etc/fulcrum/pooler/pooler.ini")
    assert "\nserver_tls_cert_file = /etc/fulcrum/tls/host.crt\n" in pooler


def test_patroni_reads_anew_whom_it_trusts(cluster: Cluster) -> None:
    def cafile(cluster: Cluster) -> str:
        return str(patroni(cluster, "db2", "shard01")["restapi"]["cafile"])

    prepared = cluster.authority.prepared("example")
    following = replace(cluster, authority=prepared)
    assert cafile(following) != cafile(cluster)
    assert content(following, "postgresql", "db2", cafile(following)) == prepared.bundle


def test_only_nodes_of_the_same_database_stream_and_rewind(cluster: Cluster) -> None:
    nodes = {f"{cluster.description.addresses[host]}/32" for host in ("db2", "db5")}
    for role in ("+fulcrum_replication", "+fulcrum_rewind"):
        assert {ln[3] for ln in hba(cluster, "db2", "shard01") if ln[2] == role} == nodes
        assert not [ln for ln in hba(cluster, "db3", "shard02") if ln[2] == role]
    shards = {f"{cluster.description.addresses[f'db{n}']}/32" for n in (2, 3, 4, 5)}
    catalog = [ln for ln in hba(cluster, "db1", "catalog") if ln[2] == "+fulcrum_replication"]
    assert {(ln[1], ln[3]) for ln in catalog} == {("catalog", shard) for shard in shards}


def test_secrets_are_in_files_that_not_everybody_reads(cluster: Cluster) -> None:
    c = cluster.credentials
    secrets = (c.replication, c.rewind, c.patroni, c.verifier("owner"), c.verifier("app"))
    for file in hosts.files("postgresql", cluster, "db2", FACTS):
        if any(secret in file.content for secret in secrets):
            assert (file.mode, file.group) == (0o640, "postgres"), file.path
        assert not any(p in file.content for p in (c.app, c.owner, c.mover, c.monitor)), file.path


def test_the_subscriptions_slots_outlive_a_failover_of_a_catalog_with_a_replica(
    cluster: Cluster,
) -> None:
    assert "slots" not in patroni(cluster, "db1", "catalog")["bootstrap"]["dcs"]
    d = cluster.description
    replica = d.catalog.nodes[0].model_copy(update={"role": "replica", "host": "db5"})
    nodes = [*d.catalog.nodes, replica]
    catalog = d.catalog.model_copy(update={"nodes": nodes})
    other = replace(cluster, description=d.model_copy(update={"catalog": catalog}))
    slots = patroni(other, "db5", "catalog")["bootstrap"]["dcs"]["slots"]
    source = Path(CHECKOUT, "routers", "reference", "replication_slots.py").read_text()
    [publication] = re.findall(r'^PUBLICATION = "(\w+)"$', source, re.M)
    assert list(slots) == [f"{publication}_shard0{n}" for n in (1, 2, 3)]
    assert {slot["database"] for slot in slots.values()} == {"catalog"}


def test_a_host_of_two_databases_has_two_nodes(cluster: Cluster) -> None:
    d = cluster.description
    shards = [
        shard.model_copy(
            update={"nodes": [n.model_copy(update={"host": "db3"}) for n in shard.nodes]}
        )
        for shard in d.shards
        if shard.name != "shard01"
    ]
    other = replace(cluster, description=d.model_copy(update={"shards": shards}))
    made = hosts.variables("postgresql", other, "db3", FACTS)["databases"]
    assert [database["name"] for database in made] == ["shard02", "shard03"]
    for key in ("port", "rest_port", "config"):
        assert made[0][key] != made[1][key]
    assert (
        patroni(other, "db3", "shard02")["postgresql"]["parameters"]["shared_buffers"] == "2048MB"
    )


def backend(cluster: Cluster, name: str) -> str:
    text = content(cluster, "haproxy", "app1", "/etc/haproxy/haproxy.cfg")
    [found] = re.findall(rf"^listen {name}\n((?:    .*\n)+)", text, re.M)
    return str(found)


def test_a_primarys_port_leads_to_whichever_node_patroni_calls_primary(cluster: Cluster) -> None:
    found = backend(cluster, "shard01")
    assert f"bind 127.0.0.1:{local_port(cluster.description, 'shard01')}\n" in found
    assert "uri /primary\n" in found
    servers = re.findall(r"server (\w+) .*:(\d+) check port (\d+) check-ssl verify required", found)
    assert servers == [("db2", "5433", "8009"), ("db5", "5433", "8009")]
    assert "backup" not in found


def test_a_replicas_port_leads_to_its_node_or_to_the_one_it_took_over_from(
    cluster: Cluster,
) -> None:
    found = backend(cluster, "shard01_replica")
    assert "uri /replica\n" in found
    assert re.findall(r"server (\w+) .*?( backup)?$", found, re.M) == [
        ("db5", ""),
        ("db2", " backup"),
    ]


def test_connections_to_a_former_primary_are_closed(cluster: Cluster) -> None:
    text = content(cluster, "haproxy", "app1", "/etc/haproxy/haproxy.cfg")
    assert "on-marked-down shutdown-sessions" in text
    assert not re.search(r"^    bind (?!127\.0\.0\.1:)(?!.*:8405$)", text, re.M)

"""Who may speak to whom, in the cluster of the example inventory."""

import pytest

from infra.credentials import Credentials
from infra.hosts import Cluster, Facts
from infra.hosts.firewall import files, ways
from infra.inventory_read import read_inventory
from infra.schema import Description
from tests.unit.infra.example import EXAMPLE


@pytest.fixture(scope="module")
def d() -> Description:
    return read_inventory(EXAMPLE).description


def rules(d: Description, host: str) -> str:
    cluster = Cluster(d, Credentials.generate(), authority=None)  # type: ignore[arg-type]
    [file] = files(cluster, host, Facts(memory_mb=1024, cores=2))
    return file.content


def sources(d: Description, host: str, port: int) -> set[str]:
    return {name for way in ways(d) if (way.host, way.port) == (host, port) for name in way.sources}


def test_only_the_site_is_open_to_everybody(d: Description) -> None:
    everybody = {(way.host, way.port) for way in ways(d) if "*" in way.sources}
    assert everybody == {("front1", 80), ("front1", 443)}


def test_who_reaches_postgresql(d: Description) -> None:
    site = {"app1", "app2"}  # poolers, web and workers
    shards = {"db2", "db3", "db4", "db5"}  # subscribe to the catalog, and to each other for moves
    assert sources(d, "db1", 5432) == site | shards
    for node in (node for shard in d.shards for node in shard.nodes):
        assert sources(d, node.host, node.port) == site | shards - {node.host}


def test_who_reaches_patroni(d: Description) -> None:
    looking = {"app1", "app2", "front1"}  # HAProxy, and the monitor
    assert sources(d, "db2", 8009) == looking | {"db5"}
    assert sources(d, "db3", 8010) == looking


def test_who_reaches_the_rest(d: Description) -> None:
    assert sources(d, "app1", 8000) == {"front1"}
    assert sources(d, "app1", d.poolers[0].port) == {"app2", "front1"}  # the site, and the monitor
    assert sources(d, "db1", 2380) == {"db2", "db3"}
    assert sources(d, "db4", 2379) == set()
    assert sources(d, "front1", 9090) == {"app1", "app2"}  # which may show alerts


def test_the_rules_of_a_host_name_nobody_else(d: Description) -> None:
    said = rules(d, "db3")
    shard = next(line for line in said.splitlines() if "PostgreSQL of shard02" in line)
    assert (
        "tcp dport 5434 ip saddr { 192.0.2.12, 192.0.2.14, 192.0.2.15, 192.0.2.21, 192.0.2.22 }"
        in shard
    )
    assert "policy drop" in said
    assert "shard01" not in said

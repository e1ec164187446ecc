"""An inventory that leaves a shard out is the one from which an operator has deleted it."""

import shutil
from pathlib import Path

import pytest
import yaml

from infra import hosts
from infra.authority import Authority
from infra.credentials import Credentials
from infra.hosts import Cluster, Facts
from infra.inventory import describe, without
from infra.inventory_places import Places
from infra.inventory_read import read_inventory
from infra.schema import Description
from tests.unit.infra.example import EXAMPLE


def left_out(path: Path, shard: str) -> Description:
    return describe(without(read_inventory(path).inventory, shard), Places(path))


def deleted(folder: Path, shard: str, *leaving: str) -> Description:
    """As the example, but the operator has deleted the shard's group and these hosts."""
    shutil.copytree(EXAMPLE, folder)
    content = yaml.safe_load((folder / "hosts.yml").read_text())
    del content["shards"]["children"][shard]
    for host in leaving:
        del content["all"]["hosts"][host]
    (folder / "hosts.yml").write_text(yaml.safe_dump(content, sort_keys=False))
    return read_inventory(folder).description


def test_a_shard_leaves_with_the_hosts_that_did_nothing_else(tmp_path: Path) -> None:
    assert left_out(EXAMPLE, "shard03") == deleted(tmp_path / "made", "shard03", "db4")


def test_a_host_that_does_something_else_stays(tmp_path: Path) -> None:
    # db2 has the first node of shard01 and is a member of etcd; db5 has its replica.
    left = left_out(EXAMPLE, "shard01")
    assert left == deleted(tmp_path / "made", "shard01", "db5")
    assert "db2" in left.hosts
    assert "db5" not in left.addresses


def test_a_shard_beside_another_service_leaves_that_service(tmp_path: Path) -> None:
    content = yaml.safe_load((EXAMPLE / "hosts.yml").read_text())
    content["shards"]["children"]["shard03"]["hosts"] = {"front1": None}
    del content["all"]["hosts"]["db4"]
    shutil.copytree(EXAMPLE, tmp_path / "made")
    (tmp_path / "made" / "hosts.yml").write_text(yaml.safe_dump(content, sort_keys=False))
    left = left_out(tmp_path / "made", "shard03")
    assert [shard.name for shard in left.shards] == ["shard01", "shard02"]
    assert "front1" in left.hosts


def test_a_shard_that_is_gone_already_changes_nothing() -> None:
    assert left_out(EXAMPLE, "shard09") == read_inventory(EXAMPLE).description


@pytest.mark.parametrize("host", ["db1", "db2", "app1", "front1"])
def test_nobody_who_stays_has_a_word_of_it(host: str) -> None:
    cluster = Cluster(left_out(EXAMPLE, "shard03"), Credentials.generate(), Authority.make("x"))
    for service in ("firewall", "exporters"):
        for file in hosts.files(service, cluster, host, Facts(4096, 2)):
            assert "shard03" not in file.content, file.path
            assert "192.0.2.14" not in file.content, file.path

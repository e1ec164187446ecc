"""The cluster's description as Django's settings: databases and replicas."""

from config import cluster

GIVEN = {"host": "h", "port": 1, "user": "u", "password": "p"}
CONFIG = {
    "engine": "postgresql",
    "databases": {
        "default": {**GIVEN, "name": "catalog"},
        "default_replica": {**GIVEN, "name": "catalog_replica", "replica_of": "default"},
        "shard01": {**GIVEN, "name": "shard01", "number": 1},
        "shard01_replica": {**GIVEN, "name": "shard01_replica", "replica_of": "shard01"},
        "shard01_replica2": {**GIVEN, "name": "shard01_replica2", "replica_of": "shard01"},
        "shard02": {**GIVEN, "name": "shard02", "number": 2},
    },
}
SQLITE = {"engine": "sqlite", "databases": {"default": {"name": "x"}, "shard01": {"name": "y"}}}


def test_each_primary_has_its_replicas() -> None:
    assert cluster.replicas(CONFIG) == {
        "default": ["default_replica"],
        "shard01": ["shard01_replica", "shard01_replica2"],
    }
    assert cluster.replicas(SQLITE) == {}


def test_a_replica_is_no_shard() -> None:
    assert cluster.shard_numbers(CONFIG) == {"shard01": 1, "shard02": 2}


def test_a_replica_is_its_primarys_mirror_in_tests() -> None:
    made = cluster.databases(CONFIG)
    assert list(made) == list(CONFIG["databases"])
    assert made["shard01_replica2"]["TEST"] == {"MIRROR": "shard01"}
    assert made["shard01_replica2"]["NAME"] == "shard01_replica2"
    assert not [alias for alias in ("default", "shard01", "shard02") if "TEST" in made[alias]]

"""What ansible/status.yml asks, finds wrong and shows, in the cluster of the example inventory."""

import base64
import copy
import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from infra.credentials import Credentials
from infra.findings import Seen, findings
from infra.inventory_read import read_inventory
from infra.layout import CHECKOUT
from infra.overview import overview, seen_of
from infra.questions import Questions, questions
from infra.rotation import Rotation
from infra.schema import Description

NOW = 1_800_000_000
CREDENTIALS = Credentials.generate()


def asked_of(d: Description, name: str) -> Questions:
    return questions(d, CREDENTIALS, Rotation(), name)


@pytest.fixture(scope="module")
def d() -> Description:
    return read_inventory(CHECKOUT / "ansible" / "inventories" / "example").description


def node(follows: bool) -> dict[str, Any]:
    slot = {"name": "db5", "active": True, "status": "reserved", "bytes": 2048}
    return {
        "follows": follows,
        "timeline": 3,
        "connections": 42,
        "most": 200,
        "size": 5 * 2**30,
        "slots": [slot],
    }


def host(release: str | None) -> dict[str, Any]:
    return {
        "up_seconds": 3 * 86_400,
        "load": 0.25,
        "cores": 4,
        "memory_total": 8 * 2**30,
        "memory_available": 6 * 2**30,
        "disks": [{"mount": "/", "size": 100 * 2**30, "free": 60 * 2**30}],
        "failed_units": [],
        "release": release,
        "certificates": {"host.crt": NOW + 300 * 86_400, "ca.crt": NOW + 3000 * 86_400},
        "now": NOW,
    }


def pool(process: int) -> dict[str, str]:
    row = {"process": f"app1/{process}", "database": "shard01", "clients": "7", "waiting": "0"}
    return {**row, "wait_ms": "0", "servers": "2+3/25", "state": "active"}


def redis(**more: Any) -> dict[str, Any]:
    return {
        "used_memory": 2**20,
        "maxmemory": 256 * 2**20,
        "keyspace_hits": 75,
        "keyspace_misses": 25,
        "evicted_keys": 0,
        "aof_enabled": int("waiting" in more),
        "aof_last_write_status": "ok",
        "aof_last_bgrewrite_status": "ok",
        **more,
    }


def healthy(d: Description) -> Seen:
    """What all hosts say when nothing is wrong."""
    seen: Seen = {}
    for name in d.hosts:
        asked = asked_of(d, name).ask
        told: dict[str, Any] = {"host": host("v7" if asked["site"] else None)}
        told["databases"] = {
            one["name"]: node_of(d, one["name"], name) for one in asked["databases"]
        }
        told["caches"] = {one["name"]: redis() for one in asked["caches"]}
        if "broker" in told["caches"]:
            told["caches"]["broker"] = redis(waiting=3)
        if asked["pooler"]:
            told["pooler"] = {"processes": 2, "pools": [pool(1), pool(2)]}
        if asked["etcd"]:
            told["etcd"] = {"healthy": True, "reason": ""}
        if asked["site"]:
            told["site"] = {"ready": True, "degraded": [], "map": 12}
        if asked["monitor"]:
            told["monitor"] = {"alerts": [], "targets": 40, "down": []}
        seen[name] = told
    return seen


def node_of(d: Description, name: str, at: str) -> dict[str, Any]:
    alias = "default" if name == "catalog" else name
    members = [
        {
            "name": one.host,
            "role": "leader" if one.role == "primary" else "sync_standby",
            "state": "running" if one.role == "primary" else "streaming",
            "timeline": 3,
            "lag": 0,
        }
        for one in d.nodes[alias]
    ]
    return {
        "cluster": {"members": members, "paused": False},
        "node": node(follows=d.primaries[alias].host != at),
    }


def test_a_healthy_cluster_has_no_findings(d: Description) -> None:
    assert findings(d, healthy(d)) == []
    shown = overview(d, healthy(d))
    assert shown["findings"] == []
    assert shown["text"].startswith("example: 8 of 8 hosts answer · etcd: 3 of 3 members healthy")
    assert "map version 12" in shown["text"]


def set_at(*path: Any) -> Callable[[Seen], None]:
    """Change one value of what was seen: the last of `path`, at those before it."""

    def change(seen: Seen) -> None:
        *way, key, value = path
        place: Any = seen
        for step in way:
            place = place[step]
        place[key] = value

    return change


ALERT = {"name": "DiskFillsSoon", "summary": "db1: / is full", "chapter": "disk-fills"}
SHARD = ("db2", "databases", "shard01")
REPLICA = ("db5", "databases", "shard01")
MEMBERS = (*SHARD, "cluster", "members")
BROKER = ("app2", "caches", "broker")
WRONG = {
    "away": (set_at("db4", {"away": "timed out"}), "host-down", "db4 does not answer: timed out"),
    "nothing told": (set_at("db4", "host", {"error": "x"}), "target-down", "db4: x"),
    "unit": (set_at("db1", "host", "failed_units", ["a.service"]), "target-down", "a.service"),
    "disk": (set_at("db1", "host", "disks", 0, "free", 9 * 2**30), "disk-fills", "9 % left"),
    "certificate": (
        set_at("db1", "host", "certificates", "host.crt", NOW + 20 * 86_400),
        "certificate-near-its-end",
        "host.crt ends in 20 days",
    ),
    "no certificate": (
        set_at("db1", "host", "certificates", "ca.crt", None),
        "certificate-near-its-end",
        "db1 has no ca.crt",
    ),
    "no primary": (
        set_at(*SHARD, "node", "follows", True),
        "shard-down",
        "no primary on db2 or db5",
    ),
    "two primaries": (set_at(*REPLICA, "node", "follows", False), "shard-down", "db2, db5"),
    "postgresql": (set_at(*REPLICA, "node", {"error": "refused"}), "target-down", "db5: refused"),
    "patroni": (
        set_at(*REPLICA, "cluster", {"error": "refused"}),
        "target-down",
        "Patroni of shard01",
    ),
    "paused": (set_at(*SHARD, "cluster", "paused", True), "shard-down", "nobody would fail over"),
    "state": (set_at(*MEMBERS, 1, "state", "start failed"), "replica-lags", "db5 is start failed"),
    "lag": (set_at(*MEMBERS, 1, "lag", 17 * 2**20), "replica-lags", "db5 is 17 MiB behind"),
    "no member": (
        set_at(*MEMBERS, 1, "name", "db9"),
        "replica-lags",
        "not among",
    ),
    "connections": (set_at(*SHARD, "node", "connections", 161), "pooler-full", "161 of 200"),
    "slot": (
        set_at(*SHARD, "node", "slots", 0, "bytes", 9 * 2**30),
        "replica-lags",
        "the slot db5 holds 9216 MiB of WAL",
    ),
    "lost slot": (
        set_at(*SHARD, "node", "slots", 0, "status", "lost"),
        "replica-lags",
        "db5 is lost",
    ),
    "process": (set_at("app1", "pooler", "processes", 1), "target-down", "1 of 2 processes answer"),
    "pooler": (
        set_at("app1", "pooler", {"error": "gone"}),
        "target-down",
        "app1: gone",
    ),
    "held": (set_at("app1", "pooler", "pools", 0, "state", "paused"), "pooler-full", "is paused"),
    "wait": (set_at("app1", "pooler", "pools", 0, "wait_ms", "1001"), "pooler-full", "1001 ms"),
    "redis": (set_at("app1", "caches", "cache", {"error": "refused"}), "redis-gone", "refused"),
    "broker full": (set_at(*BROKER, "used_memory", 250 * 2**20), "redis-gone", "refuses tasks"),
    "queue": (set_at(*BROKER, "waiting", 1001), "redis-gone", "1001 tasks wait"),
    "persistence": (set_at(*BROKER, "aof_last_write_status", "err"), "redis-gone", "is err"),
    "not ready": (set_at("app1", "site", "ready", False), "a-bad-release", "not ready"),
    "degraded": (
        set_at("app1", "site", "degraded", ["shard02 away"]),
        "shard-down",
        "shard02 away",
    ),
    "no release": (set_at("app2", "host", "release", "v6"), "a-bad-release", "app1 v7, app2 v6"),
    "etcd": (
        set_at("db1", "etcd", {"error": "refused"}),
        "etcd-without-a-majority",
        "etcd on db1: refused",
    ),
    "target": (
        set_at("front1", "monitor", "down", ["https://db1:9100"]),
        "target-down",
        "db1:9100",
    ),
    "alert": (set_at("front1", "monitor", "alerts", [ALERT]), "disk-fills", "DiskFillsSoon: db1"),
    "monitor": (set_at("front1", "monitor", {"error": "x"}), "target-down", "Prometheus on"),
}


@pytest.mark.parametrize("case", WRONG)
def test_each_trouble_is_one_finding_with_its_chapter(d: Description, case: str) -> None:
    change, chapter, text = WRONG[case]
    seen = copy.deepcopy(healthy(d))
    change(seen)
    found = [finding for finding in findings(d, seen) if text in finding.text]
    assert [finding.chapter for finding in found] == [chapter]
    assert str(found[0]) in overview(d, seen)["findings"]
    follows = {"away", "nothing told", "no primary", "postgresql"}  # others notice it too
    assert len(findings(d, seen)) == 1 or case in follows


def test_a_lost_majority_is_said(d: Description) -> None:
    seen = healthy(d) | {"db1": {"away": "x"}, "db2": {"away": "x"}}
    said = [finding.text for finding in findings(d, seen)]
    assert "etcd: 1 of 3 members are healthy" in said
    unknown = "whether {} has a primary is unknown: nothing is heard of its node on {}"
    assert unknown.format("shard01", "db2") in said
    assert unknown.format("catalog", "db1") in said


def test_nothing_but_hosts_that_are_away_is_shown_too(d: Description) -> None:
    seen: Seen = {name: {"away": "no route to host"} for name in d.hosts}
    shown = overview(d, seen)
    assert shown["text"].startswith("example: 0 of 8 hosts answer")
    assert len([said for said in shown["findings"] if "#host-down" in said]) == 8


def test_a_bare_host_is_shown_with_what_it_lacks(d: Description) -> None:
    """Before site.yml has ever run there: every part is an error."""
    seen = healthy(d)
    seen["app1"] = {
        name: {"error": "no such file"} for name in ("pooler", "site") if name in seen["app1"]
    } | {
        "host": host(None) | {"certificates": {"host.crt": None, "ca.crt": None}},
        "caches": {"cache": {"error": "no such file"}},
    }
    said = "app1 is bare: ansible/site.yml has not run there"
    assert [finding.text for finding in findings(d, seen)] == [said]
    assert "none" in overview(d, seen)["text"]


def test_what_may_be_the_cause_of_others_comes_first(d: Description) -> None:
    seen = healthy(d) | {"db1": {"away": "x"}}
    seen["front1"]["host"]["failed_units"] = ["a.service"]
    chapters = [finding.chapter for finding in findings(d, seen)]
    assert chapters == ["host-down", "shard-down", "target-down"]


def test_what_is_shown_of_a_database(d: Description) -> None:
    seen = healthy(d)
    seen["db5"] = {"away": "x"}
    lines = overview(d, seen)["text"].splitlines()
    rows = [" ".join(line.split()) for line in lines if line.startswith("shard01")]
    assert rows == [
        "shard01 db2 primary running 3 - 42/200 5 GiB db5 2 KiB",
        "shard01 db5 sync_standby streaming",
    ]


def test_every_chapter_is_in_the_runbooks(d: Description) -> None:
    text = (CHECKOUT / "ansible" / "RUNBOOKS.md").read_text()
    headings = re.findall(r"^## (.+)$", text, re.M)
    anchors = {re.sub(r"[^a-z0-9 -]", "", h.lower()).replace(" ", "-") for h in headings}
    code = (CHECKOUT / "infra" / "findings.py").read_text()
    named = {chapter for _, chapter, _ in WRONG.values()}
    named |= set(re.findall(r'(?:_error|Finding)\("([a-z-]+)"', code))
    assert len(named) >= 9
    assert named <= anchors


def test_answers_of_ansible() -> None:
    results = {
        "a": {"seen": {"host": {}}},
        "b": {"unreachable": True, "msg": "Failed\nReached over ssh: ssh: no route"},
        "c": {"failed": True},
    }
    assert seen_of(results) == {
        "a": {"host": {}},
        "b": {"away": "no route"},
        "c": {"away": "no answer"},
    }


def test_a_host_is_asked_for_what_it_does(d: Description) -> None:
    app, replica = asked_of(d, "app2"), asked_of(d, "db5")
    assert app.ask["site"] == {"url": "http://192.0.2.22:8000"}
    assert [cache["queue"] for cache in app.ask["caches"]] == ["celery"]
    [database] = replica.ask["databases"]
    assert database == {"name": "shard01", "host": "db5", "port": 5433, "rest_port": 8009}
    assert replica.ask["etcd"] is None
    assert replica.ask["site"] is None
    assert asked_of(d, "front1").ask["monitor"] == {"url": "https://front1:9090"}


def test_no_password_is_in_what_is_shown(d: Description) -> None:
    """Values of `secrets` are hidden by Ansible, those of `ask` are not."""
    for name in d.hosts:
        asked = asked_of(d, name)
        for secret in asked.secrets.values():
            assert secret not in json.dumps(asked.ask)
        assert CREDENTIALS.probe_token not in repr(asked)
    login = base64.b64decode(asked.secrets["monitor"]).decode()
    assert login == f"fulcrum_site:{CREDENTIALS.probe_token}"

"""The lab's scenario: three bare hosts become a cluster that serves. One step after another.

`.ci/run` runs it as root, in a lab of its own (number 9): `python -m tests --lab`.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journey import journey
from tests.lab.cluster import Cluster
from tests.lab.hosts import hosts_there
from tests.lab.traffic import Traffic, failures, under_traffic

HOSTS = "3"
FEW_REQUESTS = 300
RECAP = re.compile(r"^(\S+)\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.M)
pytestmark = pytest.mark.timeout(1_500)


def lab(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "tests.lab", *words], check=True)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Bare hosts, an inventory and its secrets."""
    lab("up", HOSTS)
    cluster = Cluster()
    subprocess.run([sys.executable, "-m", "infra", "secrets", str(cluster.inventory)], check=True)
    yield cluster
    lab("down")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "play.log"


def play(cluster: Cluster, log: Path, name: str, *options: str) -> dict[str, int]:
    """Run a playbook that must succeed: host → tasks changed."""
    status = cluster.play(name, *options, log=log)
    said = log.read_text()
    assert status == 0, said[-6_000:]
    return {host: int(changed) for host, _, changed, *_ in RECAP.findall(said)}


def test_check_mode_works_on_bare_hosts(cluster: Cluster, log: Path) -> None:
    play(cluster, log, "site.yml", "--check", "--diff")
    for host in hosts_there():
        assert "fulcrum" not in host.ssh("ls /etc /opt")


def test_bare_hosts_become_a_cluster(cluster: Cluster, log: Path) -> None:
    changed = play(cluster, log, "site.yml")
    assert all(changed[host] > 0 for host in cluster.description.hosts)


def test_the_second_run_changes_nothing(cluster: Cluster, log: Path) -> None:
    changed = play(cluster, log, "site.yml")
    assert changed == dict.fromkeys(changed, 0), log.read_text()[-6_000:]


def test_a_candidate_is_invited_and_judged_over_https(cluster: Cluster, tmp_path: Path) -> None:
    authority = tmp_path / "ca.crt"
    authority.write_text(cluster.authority.bundle)
    assert journey(cluster.url, cluster.credentials.demo_password, authority)


def test_poolers_reload_and_a_primary_switches_and_no_write_is_lost(
    cluster: Cluster, log: Path
) -> None:
    def operate() -> int:
        reloaded = cluster.play("pooler_reload.yml", log=log)
        return reloaded or cluster.play("switchover.yml", "-e", "shard=shard01", log=log)

    traffic = Traffic(cluster, rate=20.0)
    assert "shard01" in {cluster.shard_of(client.slug) for client in traffic.clients}
    outcome = under_traffic(traffic, operate, FEW_REQUESTS, quiet=50)
    assert outcome.status == 0, log.read_text()[-6_000:]
    assert outcome.acknowledged > 0
    assert outcome.lost == []
    elsewhere = [r for r in outcome.failed if cluster.shard_of(r.account) != "shard01"]
    assert elsewhere == [], failures(elsewhere)

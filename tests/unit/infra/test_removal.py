"""destroy.yml knows every file that the roles put on a host, and no folder of the system."""

from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra import hosts
from infra.authority import Authority
from infra.credentials import Credentials
from infra.hosts import Cluster, Facts
from infra.inventory_read import read_inventory
from infra.layout import CHECKOUT

ANSIBLE = CHECKOUT / "ansible"
FOUND_BY_THEIR_TEXT = ("/etc/patroni/*.yml", "/etc/nftables.conf")
IN_THE_END = ("/etc/fulcrum",)


def removals() -> dict[str, Any]:
    """Role → what it has base's tasks remove: a list, or an expression."""
    found = {}
    for file in sorted(ANSIBLE.glob("roles/*/tasks/remove.yml")):
        for task in yaml.safe_load(file.read_text()):
            if "base_paths" in task.get("vars", {}):
                found[file.parts[-3]] = task["vars"]["base_paths"]
    return found


def is_removed(path: str, patterns: list[str]) -> bool:
    """By itself, or with a folder that it is in."""
    places = [path, *map(str, Path(path).parents)]
    return any(fnmatch(place, pattern) for place in places for pattern in patterns)


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    description = read_inventory(ANSIBLE / "inventories" / "example").description
    return Cluster(description, Credentials.generate(), Authority.make("example"))


@pytest.mark.parametrize("service", hosts.services())
def test_every_file_of_a_service_is_removed(service: str, cluster: Cluster) -> None:
    given = removals()
    patterns = [path for paths in given.values() if isinstance(paths, list) for path in paths]
    described = cluster.description
    groups = {
        "balancer": described.balancers,
        "haproxy": described.poolers,
        "monitoring": described.monitors,
        "pooler": described.poolers,
    }
    there = [member.host for member in groups.get(service, [])] or described.hosts
    for host in there:
        for file in hosts.files(service, cluster, host, Facts(4096, 2)):
            known = [*patterns, *FOUND_BY_THEIR_TEXT, *IN_THE_END]
            in_expression = file.path in str(given["postgresql"])
            assert in_expression or is_removed(file.path, known), file.path


@pytest.mark.parametrize("template", ["patroni.yml", "nftables.conf"])
def test_what_is_found_by_its_text_has_that_text(template: str) -> None:
    text = (CHECKOUT / "infra" / "templates" / f"{template}.j2").read_text()
    assert f"Rendered from infra/templates/{template}.j2" in text


def test_every_role_that_writes_files_is_asked() -> None:
    [_, play] = yaml.safe_load((ANSIBLE / "destroy.yml").read_text())
    there = {file.parts[-3] for file in ANSIBLE.glob("roles/*/tasks/remove.yml")} - {"base"}
    assert set(play["tasks"][0]["loop"]) == there
    assert {file.parts[-3] for file in ANSIBLE.glob("roles/*/tasks/configure.yml")} - there == {
        "base",
        "tls",
    }


def test_no_whole_folder_of_the_system_is_removed() -> None:
    shared = ("/etc", "/etc/nginx", "/etc/redis", "/etc/systemd/system", "/usr/local/sbin", "/opt")
    for paths in removals().values():
        for path in paths if isinstance(paths, list) else []:
            assert path.startswith("/")
            assert path not in shared
            assert Path(path).name.strip("*.") or "left-" in path

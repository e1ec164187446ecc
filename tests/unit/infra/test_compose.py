"""docker-compose.yml against the description of its cluster; no engine is needed."""

import json
import re
from dataclasses import asdict
from typing import Any

import pytest
import yaml

from infra.credentials import Credentials
from infra.description import load
from infra.docker.__main__ import COMMANDS, DATA, LAYOUT, check, shares
from infra.errors import ClusterError
from infra.layout import CHECKOUT
from infra.programs import programs
from infra.render import File
from infra.rules import addresses
from infra.schema import Description, Node, Step

DOCKER = CHECKOUT / "infra" / "docker"
TASKS = {"init", "prepare"}
PYTHON = {"postgres", "site"}  # images whose entry point is `python -m infra.docker`


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())
    return loaded


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose["services"]
    return found


@pytest.fixture(scope="module")
def description() -> Description:
    return load(DOCKER / "cluster.yml").description


@pytest.fixture(scope="module")
def volumes(description: Description) -> dict[str, dict[str, File]]:
    return shares(description, Credentials.generate())


def target(service: dict[str, Any]) -> str:
    """The stage of the Dockerfile that the service's image is."""
    return str(service["image"].removeprefix("fulcrum-"))


def config_volume(service: dict[str, Any]) -> str:
    """The volume at the cluster's root, without `config-`."""
    mounts = [volume.split(":") for volume in service["volumes"]]
    [(name, options)] = [(m[0], m[2]) for m in mounts if m[1] == str(LAYOUT.root)]
    # Two containers that are made at once must not both copy their image's files into it.
    assert options in ("ro,nocopy", "nocopy")
    return str(name.removeprefix("config-"))


def test_the_services_are_the_hosts_of_the_description(
    services: dict[str, dict[str, Any]], description: Description
) -> None:
    hosts = {host for _, _, host, _ in addresses(description)}
    hosts |= {worker.host for worker in description.workers}
    assert set(services) == hosts | TASKS | {"beat"}


def test_every_service_is_checked_or_awaited(services: dict[str, dict[str, Any]]) -> None:
    awaited = {
        name: how["condition"]
        for service in services.values()
        for name, how in service.get("depends_on", {}).items()
    }
    for name, service in services.items():
        if name in TASKS:
            assert service["restart"] == "no"
            assert awaited[name] == "service_completed_successfully"
        else:
            assert service["restart"] == "unless-stopped"
            assert service["healthcheck"]["test"], name
            assert awaited.get(name, "service_healthy") == "service_healthy"


def test_every_service_is_confined(services: dict[str, dict[str, Any]]) -> None:
    for service in services.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert not {"privileged", "user", "cap_add", "env_file", "secrets"} & set(service)


def test_only_the_site_has_a_port_and_only_here(services: dict[str, dict[str, Any]]) -> None:
    ports = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert ports == {"web": ["127.0.0.1:${FULCRUM_PORT:-8000}:8000"]}


def test_postgresql_is_reached_by_the_pooler_and_by_prepare(
    compose: dict[str, Any], services: dict[str, dict[str, Any]], description: Description
) -> None:
    assert compose["networks"]["databases"] == {"internal": True}
    members = {name for name, s in services.items() if "databases" in s.get("networks", [])}
    databases = {node.host for node in description.primaries.values()}
    assert members == databases | {"pooler", "prepare"}
    assert all(services[name]["networks"] == ["databases"] for name in databases)


def test_no_secret_in_the_files(services: dict[str, dict[str, Any]]) -> None:
    for path in (CHECKOUT / "docker-compose.yml", DOCKER / "Dockerfile"):
        assert not re.search(r"(?i)(passw|token|secret_key)\S*\s*[=:]", path.read_text())
    variables = {name: s["environment"] for name, s in services.items() if "environment" in s}
    assert variables == {"prepare": {"FULCRUM_URL": "http://127.0.0.1:${FULCRUM_PORT:-8000}"}}


def test_images_are_debian_13_with_debians_packages() -> None:
    text = (DOCKER / "Dockerfile").read_text()
    stages = re.findall(r"^FROM (\S+) AS (\S+)$", text, re.M)
    assert len(stages) == len(re.findall(r"^FROM", text, re.M))
    known = {"debian:trixie-slim"}
    for base, name in stages:
        assert base in known
        known.add(name)
    assert stages[0] == ("debian:trixie-slim", "debian")
    assert re.findall(r"pip install(?:.|\\\n)*?--require-hashes", text)


def test_images_hold_nothing_that_git_ignores() -> None:
    lines = (CHECKOUT / ".dockerignore").read_text().splitlines()
    kept = {line[1:] for line in lines if line.startswith("!")}
    assert lines[0] == "*"
    assert {"infra", "requirements.lock", "routers", "site"} == kept
    for ignored in (CHECKOUT / ".gitignore").read_text().split():
        path = ignored.rstrip("/")
        if not path.startswith("/"):
            assert f"**/{path}" in lines
        elif path.split("/")[1] in kept:
            assert path[1:] in lines


def test_each_image_is_built_by_the_first_service_that_has_it(
    services: dict[str, dict[str, Any]],
) -> None:
    seen: set[str] = set()
    for name, service in services.items():
        first = service["image"] not in seen
        assert ("build" in service) is first, name
        assert not first or service["build"]["target"] == target(service)
        seen.add(service["image"])


def test_every_image_ends_as_an_ordinary_user(services: dict[str, dict[str, Any]]) -> None:
    sections = re.split(r"^FROM ", (DOCKER / "Dockerfile").read_text(), flags=re.M)
    users = {s.split()[2]: re.findall(r"^USER (\S+)$", s, re.M) for s in sections[1:]}
    assert all(users[target(service)] == ["fulcrum"] for service in services.values())


def test_commands_name_programs_that_exist(
    services: dict[str, dict[str, Any]], description: Description
) -> None:
    known = {program.name: program for program in programs(description, LAYOUT, "postgresql")}
    for name, service in services.items():
        if target(service) not in PYTHON:
            continue
        command, *names = service["command"]
        assert command in COMMANDS, name
        assert all(known[other] for other in names)
    for name in ("cache", "broker"):
        assert services[name]["command"][1:] == known[name].argv[1:]


def test_everything_mounted_has_a_place(
    compose: dict[str, Any],
    services: dict[str, dict[str, Any]],
    volumes: dict[str, dict[str, File]],
) -> None:
    mounts = [v.split(":") for service in services.values() for v in service["volumes"]]
    assert {volume for volume, *_ in mounts} == set(compose["volumes"])
    data = {f"{LAYOUT.root}/{place}" for place in DATA}
    own = {f"/volumes/{name}" for name in [*volumes, "secrets", "state"]}
    assert {place for _, place, *_ in mounts} <= data | own | {str(LAYOUT.root)}
    text = (DOCKER / "Dockerfile").read_text()
    assert all(re.search(rf"install -d(?:.|\\\n)*\b{name}\b", text) for name in [*volumes, *DATA])


def test_nobody_has_a_password_that_it_does_not_use(
    services: dict[str, dict[str, Any]], description: Description
) -> None:
    credentials = Credentials.generate()
    having = {
        volume: {
            name
            for name, value in asdict(credentials).items()
            if any(value in file.content for file in files.values())
        }
        for volume, files in shares(description, credentials).items()
    }
    site = {"pooler_app", "pooler_monitor", "cache", "broker", "secret_key", "probe_token"}
    assert having == {
        "postgres": {"superuser"},
        "prepare": site | {"owner", "replication", "demo_password"},
        "site": site,
        "pooler": {"app", "pooler_admin", "pooler_app", "pooler_monitor"},
        "cache": {"cache"},
        "broker": {"broker"},
    }
    for name, service in services.items():
        if name != "init":
            assert config_volume(service) in having
            assert not any("secrets" in volume for volume in service["volumes"])


def test_rendered_files_name_the_hosts(volumes: dict[str, dict[str, File]]) -> None:
    hba = volumes["postgres"]["conf/shard02/pg_hba.conf"].content
    assert "host  shard02  fulcrum_app  samenet  scram-sha-256" in hba
    assert "host  all  postgres  samehost  scram-sha-256" in hba
    assert (
        "shard04 = host=shard04 port=5432" in volumes["pooler"]["conf/pooler/pgbouncer.ini"].content
    )
    assert "max_prepared_statements = 0" in volumes["pooler"]["conf/pooler/pgbouncer.ini"].content
    assert '"host": "pooler"' in volumes["site"]["site.json"].content


def test_the_site_is_prepared_as_on_a_machine_without_containers(description: Description) -> None:
    """The same commands; subscribing takes a superuser only where PostgreSQL may be 15."""
    local = load(CHECKOUT / "infra" / "cluster.yml").description
    changed = {"admin": "owner"}
    assert [(s.run, s.as_, s.once) for s in description.site.prepare] == [
        (step.run, changed.get(step.as_, step.as_), step.once) for step in local.site.prepare
    ]
    assert description.site.programs == local.site.programs


def test_what_the_containers_do_not_do_is_refused(description: Description) -> None:
    check(description)
    replica = Node(role="replica", host="shard05", port=5432)
    catalog = description.catalog.model_copy(
        update={"nodes": [*description.catalog.nodes, replica]}
    )
    with pytest.raises(ClusterError, match="take default_replica out"):
        check(description.model_copy(update={"catalog": catalog}))
    step = Step.model_validate({"title": "subscribe", "run": "true", "as": "admin"})
    site = description.site.model_copy(update={"prepare": [step]})
    with pytest.raises(ClusterError, match=r"'subscribe': a superuser .* Write `as: owner`"):
        check(description.model_copy(update={"site": site}))


def test_the_site_may_write_where_it_keeps_its_state(
    services: dict[str, dict[str, Any]], volumes: dict[str, dict[str, File]]
) -> None:
    place = json.loads(volumes["site"]["site.json"].content)["directory_state"]
    for name in ("web", "worker", "beat"):
        assert f"data-site:{place}:nocopy" in services[name]["volumes"]
    assert "data-site:/volumes/state" in services["init"]["volumes"]  # sets its owner

"""Tries docker-compose.yml with a real engine, in a project of its own, and deletes it after.

`python -m tests.compose [--compose docker-compose]`, as root where the engine runs (it kills the
containers' processes). It starts everything from nothing, goes through the site over HTTP, looks
where the rows are, kills servers, and takes it down and up.
"""

import argparse
import contextlib
import http.client
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.variants import CHECKOUT
from tests.visitor import DEMO_EMAIL, Visitor

DATABASES = ("catalog", "shard01", "shard02", "shard03", "shard04")  # services, and databases
TASKS = {"init", "prepare"}
SHARDS = DATABASES[1:]
DEADLINE_SECONDS = 180


@contextlib.contextmanager
def step(title: str) -> Iterator[None]:
    """Say what was shown, and how long it took."""
    began = time.monotonic()
    yield
    print(f"ok  {title} ({time.monotonic() - began:.1f} s)", flush=True)


def eventually(ask: Callable[[], bool], what: str) -> None:
    """Wait until `ask` says yes."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not ask():
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.5)


@dataclass(frozen=True)
class Project:
    """A compose project; `command` is how compose is called here."""

    command: list[str]
    name: str
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def run(self, *arguments: str) -> str:
        """A compose command; what it printed on standard output."""
        done = subprocess.run(
            [*self.command, "-p", self.name, *arguments],
            cwd=CHECKOUT,
            env=os.environ | {"FULCRUM_PORT": str(self.port)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def up(self) -> None:
        self.run("up", "-d")
        eventually(lambda: not self.unhealthy(), "everything is healthy")

    def containers(self) -> dict[str, dict[str, Any]]:
        """Service → what the engine says of its container."""
        ids = docker("ps", "-aq", "--filter", f"label=com.docker.compose.project={self.name}")
        found = json.loads(docker("inspect", *ids.split())) if ids.split() else []
        return {c["Config"]["Labels"]["com.docker.compose.service"]: c for c in found}

    def unhealthy(self) -> list[str]:
        """Services that are not well: a task must have ended with 0."""
        bad = []
        for service, container in self.containers().items():
            state = container["State"]
            done = state["Status"] == "exited" and state["ExitCode"] == 0
            well = done if service in TASKS else state.get("Health", {}).get("Status") == "healthy"
            bad += [] if well else [service]
        return bad

    def pid(self, service: str) -> int:
        return int(self.containers()[service]["State"]["Pid"])

    def address(self, service: str) -> str:
        """Of a service in the databases' network."""
        networks = self.containers()[service]["NetworkSettings"]["Networks"]
        return str(networks[f"{self.name}_databases"]["IPAddress"])

    def facts(self, service: str) -> dict[str, Any]:
        """Which accounts have rows in a database, and who is connected to it."""
        script = (Path(__file__).parent / "inspect_database.py").read_text()
        said = self.run("exec", "-T", service, "python", "-c", script, service)
        loaded: dict[str, Any] = json.loads(said)
        return loaded

    def manage(self, *command: str) -> str:
        """`manage.py COMMAND` as the tables' owner; what it printed."""
        return self.run("run", "--rm", "-T", "--no-deps", "prepare", "manage", *command)

    def password(self) -> str:
        """The login's, from the log where a person finds it."""
        found = re.findall(rf"{DEMO_EMAIL} with the password (\w+)", self.run("logs", "prepare"))
        assert found, "no login in the log of prepare"
        return str(found[-1])


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True)
    return done.stdout


def take_a_test(project: Project, slug: str, who: str) -> None:
    """Invite, sit the test, and see it judged by the worker."""
    visitor = Visitor(project.url).log_in(DEMO_EMAIL, project.password())
    code = visitor.invite(slug, visitor.first_test(slug), who, f"{who.lower()}@example.org")
    Visitor(project.url).sit(slug, code)
    report = re.sub(r"<[^>]+>", " ", visitor.report(slug, code))
    assert re.search(r"300\s+out of\s+300\s+points", report), report


def check_placement(facts: dict[str, dict[str, Any]]) -> None:
    """Each account has rows on one shard, and none in the catalog."""
    homes: dict[str, list[str]] = {}
    for service, found in facts.items():
        for account in found["accounts"]:
            homes.setdefault(account, []).append(service)
    assert set(homes) == {str(account) for account in facts["catalog"]["slugs"].values()}
    assert all(len(shards) == 1 and shards != ["catalog"] for shards in homes.values()), homes


def check_access(project: Project, facts: dict[str, dict[str, Any]]) -> None:
    """The application comes from the pooler, and could not come from anywhere else.

    Beside it only the shards' subscriptions log in, at the catalog.
    """
    clients = {
        service: {tuple(client) for client in found["clients"]} for service, found in facts.items()
    }
    application = {("fulcrum_app", project.address("pooler"))}
    copies = {("fulcrum_replication", project.address(shard)) for shard in SHARDS}
    assert clients == {"catalog": application | copies, **dict.fromkeys(SHARDS, application)}
    address = project.address("shard01")
    script = (
        "import socket\n"
        f"for host in ('shard01', {address!r}):\n"
        "    try: socket.create_connection((host, 5432), 3); print('reached', host)\n"
        "    except OSError: pass\n"
    )
    assert project.run("exec", "-T", "web", "python", "-c", script) == ""


def secrets_of(project: Project) -> dict[str, str]:
    """Every generated password, read as root from the volume that only `init` mounts."""
    [mount] = [m for m in project.containers()["init"]["Mounts"] if m["Name"].endswith("_secrets")]
    loaded: dict[str, str] = json.loads((Path(mount["Source"]) / "secrets.json").read_text())
    return loaded


def check_copies(project: Project) -> None:
    """Every shard's copies of the reference models are equal to the catalog, and stay so."""
    said = project.manage("reference", "check")
    assert sorted(said.split("\n")[:-1]) == [f"{shard}: equal" for shard in SHARDS], said
    statuses = json.loads(project.manage("reference", "status", "--json"))
    assert [(s["shard"], s["problem"]) for s in statuses] == [(shard, "") for shard in SHARDS]
    assert all(s["tables"] for s in statuses), statuses


def check_probes(project: Project) -> None:
    """Who comes by a proxy sees pools and shards with the token only."""
    proxied = {"X-Forwarded-For": "93.184.216.34"}
    assert probe(project, "/metrics", proxied)[0] == 403
    assert json.loads(probe(project, "/readyz", proxied)[1]) == {"ready": True}
    token = {"Authorization": f"Bearer {secrets_of(project)['probe_token']}"}
    status, text = probe(project, "/metrics", proxied | token)
    assert status == 200, text
    for database in DATABASES:
        labels = f'{{database="{database}",pooler="pooler:6432"}}'
        assert f"routers_pool_wait_seconds{labels} " in text, text


def probe(project: Project, path: str, headers: dict[str, str]) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", project.port, timeout=20)
    with contextlib.closing(connection):
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def check_secrets(project: Project) -> None:
    """Nothing that the engine or compose shows has a password in it; only web has a port."""
    containers = project.containers()
    shown = json.dumps(containers) + project.run("config")
    images = {container["Image"] for container in containers.values()}
    shown += docker("inspect", *images)
    shown += "".join(docker("history", "--no-trunc", image) for image in images)
    assert not [name for name, secret in secrets_of(project).items() if secret in shown]
    published = {
        service: [p for ports in c["NetworkSettings"]["Ports"].values() for p in ports or []]
        for service, c in containers.items()
    }
    assert {s for s, ports in published.items() if ports} == {"web"}
    assert {port["HostIp"] for port in published["web"]} == {"127.0.0.1"}
    users = {c["Config"]["User"] for c in containers.values()}
    assert users == {"fulcrum"}


def check_kill(project: Project, service: str, slug: str) -> None:
    """kill -9 of a container's main process: it comes back, and the site with it."""
    pid = project.pid(service)
    os.kill(pid, 9)
    eventually(lambda: project.pid(service) not in (0, pid), f"{service} is back")

    def answers() -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException, AssertionError):
            visitor = Visitor(project.url).log_in(DEMO_EMAIL, project.password())
            return visitor.get(f"/a/{slug}/").status == 200
        return False

    eventually(answers, f"the site after {service} was killed")


def check_all(project: Project) -> None:
    with step("up from nothing, all healthy"):
        project.up()
    facts = {service: project.facts(service) for service in DATABASES}
    slugs: dict[str, int] = facts["catalog"]["slugs"]
    slug, account = next(iter(slugs.items()))
    with step("login, invitation, a session taken and judged"):
        take_a_test(project, slug, "Ada")
    facts = {service: project.facts(service) for service in DATABASES}
    with step("an account's rows on one shard"):
        check_placement(facts)
    with step("PostgreSQL through the pooler only"):
        check_access(project, facts)
    with step("reference models equal on every shard"):
        check_copies(project)
    with step("pools in the metrics, for the token only"):
        check_probes(project)
    with step("no secret in what the engine shows, one port, no root"):
        check_secrets(project)
    before = {s: (c["Id"], c["State"]["Pid"]) for s, c in project.containers().items()}
    with step("up again changes nothing"):
        project.up()
    after = {s: (c["Id"], c["State"]["Pid"]) for s, c in project.containers().items()}
    assert before == after
    [home] = [s for s, found in facts.items() if str(account) in found["accounts"]]
    for service in (home, "pooler", "broker", "cache", "catalog", "web", "worker", "beat"):
        with step(f"kill -9 of {service}, and back"):
            check_kill(project, service, slug)
    eventually(lambda: not project.unhealthy(), "everything is healthy")
    with step("a session taken and judged after that"):
        take_a_test(project, slug, "Bo")
    rows = {service: project.facts(service)["accounts"] for service in DATABASES}
    secrets = secrets_of(project)
    with step("down"):
        project.run("down")
    with step("up again, all healthy"):
        project.up()
    assert rows == {service: project.facts(service)["accounts"] for service in DATABASES}
    assert secrets == secrets_of(project)
    with step("a session taken and judged on the old data"):
        take_a_test(project, slug, "Cleo")
    with step("reference models still equal"):
        check_copies(project)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.compose", description=__doc__)
    parser.add_argument("--compose", default="docker compose", help="how compose is called here")
    parser.add_argument("--project", default="fulcrumtrial")
    parser.add_argument("--port", type=int, default=19080)
    options = parser.parse_args()
    project = Project(shlex.split(options.compose), options.project, options.port)
    assert not project.containers(), f"the project {project.name} exists: name another"
    try:
        with step("images built"):
            project.run("build")
        check_all(project)
    finally:
        project.run("down", "--volumes")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""No secret of the vault is where it could be seen: command lines, logs, diffs, open files, git."""

import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from infra.inventory_read import read_inventory
from infra.layout import CHECKOUT
from infra.vault import rotation_of
from tests.lab.cluster import Cluster
from tests.lab.proofs import Row, begin, there

__all__ = ["leaks", "secrets_of", "watched"]

NO_SECRETS = ("salt",)
"""PostgreSQL tells what is made of it to whoever wants to log in."""
END = "/run/fulcrum-searched"
SHORTEST = 8


def secrets_of(cluster: Cluster) -> dict[str, str]:
    """Name → value: all of the vault, what servers verify them with, the authority's key."""
    credentials = cluster.credentials
    inventory = read_inventory(cluster.inventory).inventory
    others = rotation_of(inventory.cluster_wide("fulcrum_rotation")).other
    known = {n: v for n, v in asdict(credentials).items() if n not in NO_SECRETS}
    verifiers = {f"the verifier of {name}": credentials.verifier(name) for name in known}
    lines = [line for line in cluster.authority.key.splitlines() if not line.startswith("-----")]
    key = {f"the authority's key, line {n}": line for n, line in enumerate(lines, 1)}
    key |= {f"{name}, of a change under way": value for name, value in others.items()}
    return {name: text for name, text in (known | verifiers | key).items() if len(text) >= SHORTEST}


def leaks(cluster: Cluster, play: str = "site.yml") -> list[Row]:
    """At rest, and while Ansible looks at everything that it would change, and says all of it."""
    secrets, hosts = secrets_of(cluster), cluster.description.hosts
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "play.log"
        with watched(cluster):
            status = cluster.play(play, "--check", "--diff", "-vv", log=log)
        said = log.read_bytes()
    assert status == 0, said[-3000:].decode()
    _none("Ansible's output", _in(secrets, said))
    for host in hosts:
        for where, user in (("everybody", "nobody"), ("logs", "root")):
            question = {"secrets": secrets, "where": where}
            _none(host, there(cluster.host(host), "search", question, user=user))
    _none("git", _in_git(secrets))
    count = f"{len(secrets)} secrets, none"
    return [
        (f"command lines of {len(hosts)} hosts during {play} --check", count),
        (f"Ansible's output with --diff -vv, {len(said) // 1024} KiB", count),
        (f"files that everybody may read on {len(hosts)} hosts", count),
        (f"journal and /var/log of {len(hosts)} hosts", count),
        ("everything ever committed", count),
    ]


@contextmanager
def watched(cluster: Cluster) -> Iterator[None]:
    """Nothing secret is in a command line of any host as long as this lasts."""
    hosts = [cluster.host(name) for name in cluster.description.hosts]
    question = {"secrets": secrets_of(cluster), "where": "commands"}
    for host in hosts:
        host.ssh("rm", "-f", END)
    looking = [begin(host, "search", question) for host in hosts]
    try:
        yield
    finally:
        for host in hosts:
            host.ssh("touch", END)
        said = {
            host.name: process.communicate(timeout=60)
            for host, process in zip(hosts, looking, strict=True)
        }
        for host in hosts:
            host.ssh("rm", "-f", END)
    for name, (found, problem) in said.items():
        assert not problem, f"nobody looked on {name}: {problem}"
        assert found.strip() == "[]", f"{name}: {found}"


def _in(secrets: dict[str, str], content: bytes) -> list[str]:
    return sorted(name for name, value in secrets.items() if value.encode() in content)


def _in_git(secrets: dict[str, str]) -> list[str]:
    """In any file of any commit, and in what was said of it."""
    names = _git("rev-list", "--objects", "--all", "--no-object-names")
    return _in(secrets, _git("cat-file", "--batch", "--buffer", given=names))


def _git(*words: str, given: bytes = b"") -> bytes:
    return subprocess.run(
        ["git", *words], cwd=CHECKOUT, capture_output=True, check=True, input=given
    ).stdout


def _none(where: str, found: Iterable[str]) -> None:
    assert not list(found), f"{where}: {list(found)}"

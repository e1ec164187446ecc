"""The cluster that the playbooks made of the lab's hosts, for the tools that try it."""

import json
import os
import subprocess
import sys
from functools import cached_property
from pathlib import Path

from infra.ansible_tools import ANSIBLE
from infra.authority import Authority
from infra.credentials import Credentials
from infra.inventory_read import Read, read_inventory
from infra.schema import Description
from infra.vault import authority_of, credentials_of
from tests.lab.hosts import Host, hosts_there
from tests.lab.inventory import INVENTORY

__all__ = ["Cluster"]

PLAYBOOK = Path(sys.executable).parent / "ansible-playbook"


class Cluster:
    """What the inventory and its vault say, and commands on the hosts, by the inventory's names."""

    def __init__(self, inventory: Path = INVENTORY) -> None:
        self.inventory = inventory

    @cached_property
    def _read(self) -> Read:
        return read_inventory(self.inventory)

    @property
    def description(self) -> Description:
        return self._read.description

    @property
    def url(self) -> str:
        return self.description.site.public_url

    @cached_property
    def credentials(self) -> Credentials:
        return credentials_of(self._read.inventory.cluster_wide("fulcrum_secrets"))

    @cached_property
    def authority(self) -> Authority:
        return authority_of(self._read.inventory.cluster_wide("fulcrum_authority"))

    def host(self, name: str) -> Host:
        """The lab's host of that name."""
        address = self.description.addresses[name]
        return next(host for host in hosts_there() if host.address == address)

    def manage(self, *words: str) -> str:
        """`manage.py` on the first app host; what it printed."""
        return self.host(self.description.apps[0].host).ssh("fulcrum-manage", *words, seconds=300)

    def shard_of(self, slug: str) -> str:
        return str(json.loads(self.manage("shards", "where", slug, "--json"))["shard"])

    def play(self, name: str, *options: str, log: Path) -> int:
        """Run a playbook; its exit status. What it prints goes to the end of `log`."""
        with log.open("a") as file:
            return subprocess.run(
                [str(PLAYBOOK), "-i", str(self.inventory), str(ANSIBLE / name), *options],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env={**os.environ, "ANSIBLE_CONFIG": str(ANSIBLE / "ansible.cfg")},
                check=False,
            ).returncode

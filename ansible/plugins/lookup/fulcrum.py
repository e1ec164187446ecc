"""What infra makes of the inventory, for the host that a task runs on."""

import sys
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase
from ansible.vars.plugins import get_vars_from_inventory_sources

CHECKOUT = Path(__file__).resolve().parents[3]
if str(CHECKOUT) not in sys.path:
    sys.path.insert(0, str(CHECKOUT))

from infra import hosts  # noqa: E402 - the line above is what finds it
from infra.authority import names_of  # noqa: E402
from infra.errors import ClusterError  # noqa: E402
from infra.inventory import Group, Inventory, describe, without  # noqa: E402
from infra.inventory_places import Places  # noqa: E402
from infra.schema import Description  # noqa: E402
from infra.vault import authority_of, credentials_of, rotation_of  # noqa: E402

DOCUMENTATION = """
name: fulcrum
short_description: what a host of the cluster needs to have
description:
  - The inventory is validated and made into the cluster's description, and infra/hosts renders
    every file from it. Nothing here touches a host.
  - Where a play has the variable fulcrum_leaving, everything is as if the inventory did not name
    that shard.
options:
  _terms:
    description:
      - "files SERVICE: the service's files on this host, a list of path, content, mode, owner and
        group. With secret=true those that not everybody may read, with secret=false the others."
      - "variables SERVICE: what the role's tasks need to know beyond its files, a mapping."
      - "certificate: a certificate for the request in csr; current, where that is still right."
      - "authority: the certificates that hosts trust, as one text."
      - "description: the cluster's description, a mapping."
    required: true
  secret:
    description: which files; all of them if left out.
    type: bool
  csr:
    description: a certificate request of this host, PEM.
    type: str
  current:
    description: the certificate that the host has, PEM, or nothing.
    type: str
    default: ""
"""

EXAMPLES = """
- name: Write the configuration
  ansible.builtin.copy:
    dest: "{{ item.path }}"
    content: "{{ item.content }}"
    owner: "{{ item.owner }}"
    group: "{{ item.group }}"
    mode: "{{ item.mode }}"
  loop: "{{ lookup('fulcrum', 'files', 'etcd', secret=false) }}"
  loop_control: { label: "{{ item.path }}" }
"""

RETURN = """
_raw:
  description: what was asked for, one value.
  type: list
  elements: raw
"""


class LookupModule(LookupBase):
    """Every answer is one value, so that `lookup` gives it as it is."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> Any:
        self.set_options(var_options=variables, direct=kwargs)
        variables = variables or {}
        what, *names = (str(term) for term in terms)
        answers = {
            "files": self._files,
            "variables": self._variables,
            "certificate": self._certificate,
            "authority": self._authority,
            "description": self._description,
        }
        if what not in answers:
            raise AnsibleError(f"fulcrum: no '{what}'. There are: {', '.join(answers)}.")
        try:
            inventory = inventory_of(variables["hostvars"])
            leaving = str(self._templar.template(variables.get("fulcrum_leaving", "")))
            stays = without(inventory, leaving) if leaving else inventory
            description = describe(stays, Places(Path(variables["inventory_dir"])))
            host = str(variables["inventory_hostname"])
            return [answers[what](inventory, description, host, *names)]
        except ClusterError as error:
            raise AnsibleError(f"The inventory is refused:\n{error}") from None

    def _files(self, inventory: Inventory, d: Description, host: str, service: str) -> Any:
        secret, facts = self.get_option("secret"), facts_of(inventory, host)
        made = hosts.files(service, cluster_of(inventory, d), host, facts)
        return [file.as_task() for file in made if secret is None or file.secret == secret]

    def _variables(self, inventory: Inventory, d: Description, host: str, service: str) -> Any:
        facts = facts_of(inventory, host)
        return dict(hosts.variables(service, cluster_of(inventory, d), host, facts))

    def _certificate(self, inventory: Inventory, d: Description, host: str) -> str:
        authority = authority_of(inventory.cluster_wide("fulcrum_authority"))
        csr, current = (str(self.get_option(name) or "") for name in ("csr", "current"))
        return authority.renewed(csr, current, host, names_of(d, host))

    def _authority(self, inventory: Inventory, d: Description, host: str) -> str:
        return authority_of(inventory.cluster_wide("fulcrum_authority")).bundle

    def _description(self, inventory: Inventory, d: Description, host: str) -> Any:
        return d.model_dump(mode="json", by_alias=True)


def inventory_of(hostvars: Any) -> Inventory:
    """What infra reads, as plain data. Group variables apart from hosts' have no public way in."""
    manager, loader = hostvars._inventory, hostvars._loader
    groups = {}
    for name, group in manager.groups.items():
        written = get_vars_from_inventory_sources(loader, manager._sources, [group], "all")
        children = [child.name for child in group.child_groups]
        members = [host.name for host in group.get_hosts()]
        groups[name] = Group(members, children, _ours({**group.get_vars(), **written}))
    return Inventory(groups, {name: _ours(hostvars[name]) for name in manager.hosts})


def _ours(variables: Any) -> dict[str, Any]:
    """The variables that infra reads, and what is known of the host."""
    wanted = ("ansible_host", "ansible_facts")
    names = [name for name in variables if name.startswith("fulcrum_") or name in wanted]
    return {str(name): _plain(variables[name]) for name in names}


def _plain(value: Any) -> Any:
    """Without Ansible's own types, whose templates only they can fill in."""
    if isinstance(value, dict):
        return {str(key): _plain(value[key]) for key in value}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


def cluster_of(inventory: Inventory, d: Description) -> hosts.Cluster:
    credentials = credentials_of(inventory.cluster_wide("fulcrum_secrets"))
    authority = authority_of(inventory.cluster_wide("fulcrum_authority"))
    rotation = rotation_of(inventory.cluster_wide("fulcrum_rotation"))
    return hosts.Cluster(d, credentials, authority, rotation)


def facts_of(inventory: Inventory, host: str) -> hosts.Facts:
    """What was gathered; fulcrum_memory_mb counts more."""
    known = inventory.hostvars[host].get("ansible_facts", {})
    memory = inventory.hostvars[host].get("fulcrum_memory_mb", known.get("memtotal_mb"))
    if memory is None or "processor_vcpus" not in known:
        raise ClusterError(f"Nothing is known of {host}: the play must gather facts first.")
    disks = known.get("devices", {}).values()
    rotational = any(disk.get("rotational") == "1" for disk in disks)
    return hosts.Facts(int(memory), int(known["processor_vcpus"]), rotational)

"""An Ansible inventory is a cluster's description: the same one as infra/cluster.yml's.

Everything wrong is said at once, each with file, line, variable and cure.
"""

__all__ = ["Group", "Inventory", "describe", "without"]

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from infra import rules
from infra.description import explain
from infra.errors import InventoryError, Violation
from infra.inventory_data import data_of
from infra.inventory_places import Places
from infra.inventory_rules import structure
from infra.inventory_variables import SERVICE_GROUPS
from infra.schema import Description
from infra.yamlsource import Location


@dataclass(frozen=True)
class Group:
    """`hosts` are those of its children too; `variables` only those written for the group."""

    hosts: list[str] = field(default_factory=list)
    children: list[str] = field(default_factory=list)
    variables: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Inventory:
    """What Ansible makes of an inventory's files: groups, and every host's variables, merged."""

    groups: Mapping[str, Group]
    hostvars: Mapping[str, Mapping[str, Any]]

    def group(self, name: str) -> Group:
        """The group; Ansible may leave out one without hosts."""
        return self.groups.get(name, Group())

    def cluster_wide(self, name: str, otherwise: Any = None) -> Any:
        """A variable that is the same for every host."""
        for variables in self.hostvars.values():
            if name in variables:
                return variables[name]
        return otherwise


def describe(inventory: Inventory, places: Places) -> Description:
    """The cluster that the inventory describes. Raises InventoryError with all violations."""
    _refuse(list(structure(inventory, places)))
    data = data_of(inventory)
    try:
        description = Description.model_validate(data)
    except ValidationError as error:
        found = [explain(detail) for detail in error.errors()]
        raise InventoryError(list(_translated(found, data, places))) from None
    _refuse(list(_translated(rules.violations(description), data, places)))
    return description


def without(inventory: Inventory, shard: str) -> Inventory:
    """The inventory as it is once `shard` has left it, and with it hosts that did nothing else.

    The same as when an operator deletes the shard's group and those hosts.
    """
    shards = inventory.group("shards")
    children = [name for name in shards.children if name != shard]
    members = {host for name in children for host in inventory.group(name).hosts}
    homes = [host for host in shards.hosts if host in members]
    groups = {name: group for name, group in inventory.groups.items() if name != shard}
    groups["shards"] = replace(shards, hosts=homes, children=children)
    services = {*SERVICE_GROUPS, *children} - {"shards"}
    busy = {host for name in services for host in inventory.group(name).hosts}
    kept = {
        name: replace(group, hosts=[host for host in group.hosts if host in busy])
        for name, group in groups.items()
    }
    hostvars = {host: given for host, given in inventory.hostvars.items() if host in busy}
    return Inventory(kept, hostvars)


def _refuse(violations: list[Violation]) -> None:
    if violations:
        raise InventoryError(violations)


def _translated(
    found: Iterator[rules.Finding] | list[rules.Finding], data: dict[str, Any], places: Places
) -> Iterator[Violation]:
    """Findings about the description as violations of the inventory."""
    for at, seen, cure in found:
        variable, near = _variable(at, data)
        subject = ".".join(map(str, variable)) or f"group '{near}'"
        yield Violation(places.find(variable, near), f"{subject}: {seen}", cure)


PARTS = {"poolers": "fulcrum_pooler", "apps": "fulcrum_app", "workers": "fulcrum_worker"}


def _variable(at: Location, data: dict[str, Any]) -> tuple[Location, str]:
    """The inventory's variable behind a part of the description, and the host or group it is of."""
    match at:
        case ("addresses", str(host), *_):
            return ("ansible_host",), host
        case ("etcd" | "balancers" | "monitors" as group, *_):
            return (), group
        case ("catalog", *_):
            return ("fulcrum_primary",), "catalog"
        case ("shards", int(i), "number", *_):
            return ("fulcrum_number",), data["shards"][i]["name"]
        case ("shards", int(i), *_):
            return (), data["shards"][i]["name"]
        case ("caches", int(i), "maxmemory"):
            purpose = data["caches"][i]["purpose"]
            key = "maxmemory" if purpose == "cache" else "broker_maxmemory"
            return ("fulcrum_cache", key), data["caches"][i]["host"]
        case ("caches", *_):
            return ("fulcrum_purposes",), "caches"
        case ("poolers" | "apps" | "workers" as part, int(i), *rest):
            return (PARTS[part], *rest), data[part][i]["host"]
    return (f"fulcrum_{at[0]}", *at[1:]), ""

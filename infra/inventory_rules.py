"""What is wrong with an inventory before its values are looked at: groups, hosts and names."""

__all__ = ["structure"]

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from infra.description import nearest
from infra.errors import Violation
from infra.inventory_data import address_of, primary_of
from infra.inventory_places import Places
from infra.inventory_variables import DEFAULTS, KNOWN, RENAMED, REQUIRED_GROUPS, SERVICE_GROUPS
from infra.schema import Site

if TYPE_CHECKING:
    from infra.inventory import Inventory

ANSIBLES_OWN = ("all", "ungrouped")
LEAST_MEMORY_MB = 256


def structure(inventory: "Inventory", places: Places) -> Iterator[Violation]:
    """Everything that keeps the inventory from being a description."""
    for rule in (_groups, _hosts, _variables, _keys, _own, _primaries, _alike):
        yield from rule(inventory, places)


def _groups(inventory: "Inventory", places: Places) -> Iterator[Violation]:
    shards = inventory.group("shards")
    known = [*SERVICE_GROUPS, *shards.children]
    for name in inventory.groups:
        if name not in known and name not in ANSIBLES_OWN:
            yield Violation(
                places.find((name,)), f"unknown group '{name}'", nearest(name, SERVICE_GROUPS)
            )
    for name in (*REQUIRED_GROUPS, *shards.children):
        if not inventory.group(name).hosts:
            cure = f"name its hosts below `{name}:`, `hosts:`"
            yield Violation(places.find((), name), f"group '{name}' has no host", cure)
    members = {host for name in shards.children for host in inventory.group(name).hosts}
    for host in sorted(set(shards.hosts) - members):
        cure = "put it in a child group of its shard's name"
        yield Violation(places.find((host,), "shards"), f"'{host}' is in no shard", cure)


def _hosts(inventory: "Inventory", places: Places) -> Iterator[Violation]:
    grouped = {host for name in SERVICE_GROUPS for host in inventory.group(name).hosts}
    for host in inventory.hostvars:
        place = places.find((), host)
        if host not in grouped:
            yield Violation(place, f"'{host}' is in no group", "give it something to do, or go")
        if host.replace(".", "").isdigit():
            cure = f"call it db1 or the like, and give that `ansible_host: {host}`"
            yield Violation(place, f"host '{host}' has an address for a name", cure)
        elif not address_of(inventory, host):
            cure = "write its IPv4 address"
            yield Violation(place, f"ansible_host: '{host}' has none", cure)


def _variables(inventory: "Inventory", places: Places) -> Iterator[Violation]:
    """Names that nothing reads; one of a group that Ansible merged into hosts is said once."""
    seen = {name: host for host, given in inventory.hostvars.items() for name in given}
    groups = {name: group for group, of in inventory.groups.items() for name in of.variables}
    for name, near in sorted({**seen, **groups}.items()):
        if name.startswith("fulcrum_") and name not in KNOWN:
            cure = RENAMED.get(name) or nearest(name, KNOWN)
            yield Violation(places.find((name,), near), f"unknown variable '{name}'", cure)


def _keys(inventory: "Inventory", places: Places) -> Iterator[Violation]:
    """Keys inside variables that are mappings."""
    known = {name: list(keys) for name, keys in DEFAULTS.items()}
    known["fulcrum_site"] = list(Site.model_fields)
    for name, keys in known.items():
        for host, given in inventory.hostvars.items():
            value = given.get(name, {})
            if not isinstance(value, dict):
                cure = f"write keys and values, indented below it: {', '.join(keys)}"
                yield Violation(places.find((name,), host), f"{name}: no mapping", cure)
                continue
            for key in value:
                if key not in keys:
                    seen = f"{name}: unknown key '{key}'"
                    yield Violation(places.find((name, key), host), seen, nearest(key, keys))


def _own(inventory: "Inventory", places: Places) -> Iterator[Violation]:
    """Variables of one host that the description has in another shape, or not at all."""
    for host, given in inventory.hostvars.items():
        purposes = given.get("fulcrum_purposes", [])
        if not isinstance(purposes, list) or set(purposes) - {"cache", "broker"}:
            seen, cure = f"fulcrum_purposes: {purposes!r}", "write [cache], [broker] or both"
            yield Violation(places.find(("fulcrum_purposes",), host), seen, cure)
        memory = given.get("fulcrum_memory_mb", LEAST_MEMORY_MB)
        if type(memory) is not int or memory < LEAST_MEMORY_MB:
            seen = f"fulcrum_memory_mb: {memory!r}"
            cure = f"write a whole number of MiB, {LEAST_MEMORY_MB} or more, without quotes"
            yield Violation(places.find(("fulcrum_memory_mb",), host), seen, cure)


def _primaries(inventory: "Inventory", places: Places) -> Iterator[Violation]:
    for name in ("catalog", *inventory.group("shards").children):
        hosts = inventory.group(name).hosts
        place = places.find(("fulcrum_primary",), name)
        what = "the catalog" if name == "catalog" else f"shard '{name}'"
        match primary_of(inventory, name):
            case None if hosts:
                cure = f"write `fulcrum_primary: {hosts[0]}` among its group's variables"
                place = places.find((), name)
                yield Violation(place, f"{what} has {len(hosts)} hosts and no primary", cure)
            case str(host) if host not in hosts:
                seen = f"fulcrum_primary: '{host}' is no host of {what}"
                yield Violation(place, seen, f"name one of {', '.join(hosts)}")
        if name != "catalog" and "fulcrum_number" not in inventory.group(name).variables:
            cure = "write `fulcrum_number:`, unused, 0 to 511, among its group's variables"
            yield Violation(places.find((), name), f"fulcrum_number: {what} has none", cure)


def _alike(inventory: "Inventory", places: Places) -> Iterator[Violation]:
    """What is the cluster's cannot differ from host to host; the fewer are the ones who differ."""
    for name in (name for name, where in KNOWN.items() if where == "cluster"):
        hosts = defaultdict(list)
        for host, given in inventory.hostvars.items():
            hosts[repr(given.get(name))].append(host)
        most, *others = sorted(hosts.values(), key=len, reverse=True)
        for host in (few[0] for few in others):
            seen = f"{name}: '{host}' has another than {min(most)}"
            cure = "write it once, in group_vars/all"
            yield Violation(places.find((name,), host), seen, cure)

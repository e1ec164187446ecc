"""Reads an Ansible inventory from its folder, by `ansible-inventory`. No host is touched."""

__all__ = ["Read", "read_inventory"]

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.ansible_tools import PASSWORD_FILE, ansible
from infra.errors import ClusterError, InventoryError
from infra.inventory import Group, Inventory, describe
from infra.inventory_places import Places
from infra.schema import Description

LOCKED = "Attempting to decrypt", "Decryption failed"


@dataclass(frozen=True, repr=False)
class Read:
    """A valid inventory, as Ansible sees it, and the cluster that it describes."""

    inventory: Inventory
    description: Description


def read_inventory(path: Path) -> Read:
    """Raises InventoryError or DescriptionError (of a file that is no YAML) with what is wrong."""
    if not path.exists():
        raise ClusterError(f"{path}: no such inventory; copy ansible/inventories/example.")
    places = Places(path)
    if twice := list(places.duplicates()):
        raise InventoryError(twice)
    # Merged variables come without --export, and those of a group only with it.
    with ThreadPoolExecutor(2) as pool:
        merged, apart = pool.map(lambda more: _list(path, *more), ([], ["--export"]))
    inventory = Inventory(_groups(apart), _hostvars(merged))
    return Read(inventory, describe(inventory, places))


def _list(path: Path, *more: str) -> dict[str, Any]:
    try:
        listed: dict[str, Any] = json.loads(
            ansible("ansible-inventory", "-i", str(path), "--list", *more)
        )
    except ClusterError as error:
        if any(words in str(error) for words in LOCKED):
            cure = f"put the vault's password into {PASSWORD_FILE}"
            raise ClusterError(f"{path}: the vault cannot be opened; {cure}.") from None
        raise
    return listed


def _hostvars(listed: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every host's variables; `_meta` leaves out a host that has none."""
    hosts = {host for name in _names(listed) for host in listed[name].get("hosts", [])}
    known = listed["_meta"]["hostvars"]
    return {host: known.get(host, {}) for host in sorted(hosts)}


def _names(listed: dict[str, Any]) -> list[str]:
    return [name for name in listed if name != "_meta"]


def _groups(listed: dict[str, Any]) -> dict[str, Group]:
    return {
        name: Group(
            _hosts_below(listed, name),
            listed[name].get("children", []),
            listed[name].get("vars", {}),
        )
        for name in _names(listed)
    }


def _hosts_below(listed: dict[str, Any], name: str) -> list[str]:
    """A group's hosts and its children's, in the inventory's order."""
    group = listed.get(name, {})
    below = [_hosts_below(listed, child) for child in group.get("children", [])]
    return list(
        dict.fromkeys([*group.get("hosts", []), *(host for part in below for host in part)])
    )

"""An inventory's groups and variables in the shape of a description, not yet validated."""

__all__ = ["data_of", "primary_of", "settings"]

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from infra.inventory_variables import DEFAULTS, PORTS, site_defaults

if TYPE_CHECKING:
    from infra.inventory import Inventory

Data = dict[str, Any]


def data_of(inventory: "Inventory") -> Data:
    """What `Description.model_validate` takes. `structure` found nothing wrong before."""
    shards = sorted(inventory.group("shards").children)
    return {
        "cluster": inventory.cluster_wide("fulcrum_cluster"),
        "postgres": settings(inventory, "fulcrum_postgres"),
        "catalog": {"nodes": _nodes(inventory, "catalog", PORTS["postgres"])},
        "shards": [_shard(inventory, name) for name in shards],
        "poolers": [_pooler(inventory, host) for host in _hosts(inventory, "poolers")],
        "caches": list(_caches(inventory)),
        "apps": [
            {"host": host, "port": PORTS["web"], **settings(inventory, "fulcrum_app", host)}
            for host in _hosts(inventory, "apps")
        ],
        "workers": [
            {"host": host, **settings(inventory, "fulcrum_worker", host)}
            for host in _hosts(inventory, "workers")
        ],
        "site": _site(inventory),
        "synchronous": inventory.cluster_wide("fulcrum_synchronous", False),
        **{
            name: [{"host": host} for host in _hosts(inventory, name)]
            for name in ("etcd", "balancers", "monitors")
        },
        "ssh_from": inventory.cluster_wide("fulcrum_ssh_from", ["0.0.0.0/0"]),
        "addresses": {host: address_of(inventory, host) for host in sorted(inventory.hostvars)},
    }


def settings(inventory: "Inventory", name: str, host: str | None = None) -> Data:
    """The variable `name` over its defaults: a host's own, or the cluster's."""
    given = inventory.hostvars[host].get(name) if host else inventory.cluster_wide(name)
    return {**DEFAULTS[name], **(given or {})}


def address_of(inventory: "Inventory", host: str) -> Any:
    """How the cluster's other hosts reach it."""
    variables = inventory.hostvars[host]
    return variables.get("fulcrum_address", variables.get("ansible_host"))


def primary_of(inventory: "Inventory", group: str) -> str | None:
    """The host that begins as primary of the catalog or of a shard; Patroni may change it."""
    members = inventory.group(group)
    named = members.variables.get("fulcrum_primary")
    if named is None and len(members.hosts) == 1:
        return members.hosts[0]
    return named


def _hosts(inventory: "Inventory", group: str) -> list[str]:
    return sorted(inventory.group(group).hosts)


def _nodes(inventory: "Inventory", group: str, port: Any) -> list[Data]:
    """The replicas stand in the inventory's order, so that one added last renames no other."""
    primary = primary_of(inventory, group)
    return [
        {"role": "primary" if host == primary else "replica", "host": host, "port": port}
        for host in inventory.group(group).hosts
    ]


def _shard(inventory: "Inventory", name: str) -> Data:
    number = inventory.group(name).variables.get("fulcrum_number")
    port = PORTS["postgres"] + number if isinstance(number, int) else PORTS["postgres"]
    return {"name": name, "number": number, "nodes": _nodes(inventory, name, port)}


def _pooler(inventory: "Inventory", host: str) -> Data:
    name = re.sub(r"[^a-z0-9_]", "_", f"pooler_{host}".lower())[:31]
    return {
        "name": name,
        "host": host,
        "port": PORTS["pooler"],
        **settings(inventory, "fulcrum_pooler", host),
    }


def _caches(inventory: "Inventory") -> list[Data]:
    hosts = _hosts(inventory, "caches")
    made = []
    for host in hosts:
        sizes = settings(inventory, "fulcrum_cache", host)
        both = ["cache", "broker"] if len(hosts) == 1 else []
        for purpose in inventory.hostvars[host].get("fulcrum_purposes", both):
            size = sizes["maxmemory" if purpose == "cache" else "broker_maxmemory"]
            port = PORTS.get(purpose, PORTS["cache"])
            made.append({"purpose": purpose, "host": host, "port": port, "maxmemory": size})
    return made


def _site(inventory: "Inventory") -> Data:
    given = inventory.cluster_wide("fulcrum_site") or {}
    name = urlsplit(str(given.get("public_url", ""))).hostname
    allowed = {"allowed_hosts": [name]} if name else {}
    return {**site_defaults(), **allowed, **given}

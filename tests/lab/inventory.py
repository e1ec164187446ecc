"""An Ansible inventory for the lab's hosts: which of 3 to 8 hosts does what.

hosts  databases                                         the rest
3      db1 catalog, shard01; db2 shard02, 01's replica   app1 everything else
4      db1 catalog; db2 shard01; db3 shard02, replica    app1 everything else
5      as with 4                                         app1; front1 balancer, monitor
6      as with 4                                         app1, app2; front1
7      and db4 shard03                                   app1, app2; front1
8      and db5 the replica of shard01, alone             app1, app2; front1

etcd is on three hosts, the databases' first.
"""

from pathlib import Path
from typing import Any

import yaml

from tests.lab.base import LAB
from tests.lab.hosts import KEY, SSH_OPTIONS, Host

__all__ = ["INVENTORY", "inventory", "names", "write_inventory"]

INVENTORY = (
    Path(__file__).resolve().parents[2]
    / "ansible"
    / "inventories"
    / (f"lab{LAB}" if LAB else "lab")
)
FEWEST, MOST = 3, 8
DATABASES = {3: 2, 4: 3, 5: 3, 6: 3, 7: 4, 8: 5}
HEAD = "# Written by `python -m tests.lab up`: who does what, tests/lab/inventory.py says.\n"
CLUSTER: dict[str, Any] = {
    "fulcrum_cluster": "lab",
    "fulcrum_synchronous": True,
    "fulcrum_memory_mb": 1024,  # the hosts share one machine, and each sees all of its memory
    "fulcrum_postgres": {"max_connections": 150},
    "fulcrum_pooler": {"processes": 2, "pool_size": 10, "reserve_pool": 5},
    "fulcrum_cache": {"maxmemory": "64mb", "broker_maxmemory": "64mb"},
    "fulcrum_app": {"workers": 2, "threads": 4},
    "fulcrum_worker": {"concurrency": 2},
}


def names(count: int) -> list[str]:
    """The hosts' names, host 1 first."""
    databases = DATABASES[count]
    front = ["front1"] if count > 4 else []
    apps = count - databases - len(front)
    return [f"db{n + 1}" for n in range(databases)] + [f"app{n + 1}" for n in range(apps)] + front


def inventory(count: int) -> dict[str, Any]:
    """What hosts.yml says for `count` hosts."""
    there = names(count)
    apps = [name for name in there if name.startswith("app")]
    front = [name for name in there if name.startswith("front")] or apps[:1]
    databases = [name for name in there if name.startswith("db")]
    members = databases[:3] if len(databases) > 2 else [*databases, apps[0]]
    purposes = [["cache"], ["broker"]] if len(apps) > 1 else [["cache", "broker"]]
    hosts = {name: _host(number) for number, name in enumerate(there, 1)}
    for name, purpose in zip(apps, purposes, strict=False):
        hosts[name]["fulcrum_purposes"] = purpose
    groups = {
        "catalog": _group("db1"),
        "shards": {"children": _shards(databases)},
        "etcd": _group(*members),
        "poolers": _group(*apps),
        "caches": _group(*apps[: len(purposes)]),
        "apps": _group(*apps),
        "workers": _group(*apps),
        "balancers": _group(*front),
        "monitors": _group(*front),
    }
    return {"all": {"hosts": hosts, "vars": _connection()}, **groups}


def write_inventory(count: int, folder: Path) -> None:
    """Write hosts.yml and cluster.yml; a vault that is there stays."""
    if not FEWEST <= count <= MOST:
        print(f"No inventory for {count} hosts: the cluster in tests/lab/inventory.py has 3 to 8.")
        return
    public = names(count).index("front1") + 1 if count > 4 else count
    site = {"public_url": f"https://{Host(public).address}"}
    _write(folder / "hosts.yml", inventory(count))
    _write(folder / "group_vars" / "all" / "cluster.yml", {**CLUSTER, "fulcrum_site": site})
    print(f"The inventory is {folder}.")


def _shards(databases: list[str]) -> dict[str, Any]:
    """shard01 has a replica: on a host of its own where there are eight, beside shard02 else."""
    first = 0 if len(databases) == 2 else 1
    own = len(databases) == 5
    homes = databases[first : -1 if own else None]
    replica = databases[-1] if own else homes[1]
    shards = {f"shard{n:02}": _group(home, number=n) for n, home in enumerate(homes, 1)}
    shards["shard01"]["hosts"][replica] = None
    shards["shard01"]["vars"]["fulcrum_primary"] = homes[0]
    return shards


def _group(*hosts: str, number: int = 0) -> dict[str, Any]:
    group: dict[str, Any] = {"hosts": dict.fromkeys(hosts)}
    if number:
        group["vars"] = {"fulcrum_number": number}
    return group


def _host(number: int) -> dict[str, Any]:
    return {"ansible_host": Host(number).address}


def _connection() -> dict[str, Any]:
    options = " ".join(f"-o {option}" for option in SSH_OPTIONS)
    return {
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(KEY),
        "ansible_ssh_common_args": options,
    }


class _Dumper(yaml.SafeDumper):
    """Lists indented below their key, as ansible-lint wants them."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(HEAD + yaml.dump(content, Dumper=_Dumper, sort_keys=False))

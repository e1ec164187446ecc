"""PostgreSQL under Patroni: a Patroni cluster for the catalog and for each shard.

A host may have nodes of several; each is an instance of Debian's patroni@.service, named after its
database, which is also the cluster's name in etcd (its scope).
"""

__all__ = ["files", "rest_port", "variables"]

from typing import Any

from infra import patroni
from infra.hosts import Cluster, Facts, HostFile
from infra.patroni import CONFIG, VERSION, rest_port
from infra.templating import template


def files(cluster: Cluster, host: str, facts: Facts) -> list[HostFile]:
    unit = template("patroni.service.conf")
    made = [
        HostFile("/etc/systemd/system/patroni@.service.d/fulcrum.conf", unit),
        HostFile(patroni.trusted(cluster), cluster.authority.bundle),
    ]
    for alias in cluster.description.databases_on(host):
        made += _database_files(cluster, alias, facts)
    return made


def variables(cluster: Cluster, host: str, facts: Facts) -> dict[str, Any]:
    """`databases`: one mapping for each of the host's nodes, sorted; `version`: PostgreSQL's.

    A database has `name`; `port`, `rest_port`; `hosts`, of all its nodes; `begins`, whether this
    host makes it when there is none yet; `settings`, `shared`: versions of both parts of its
    configuration; and the paths `config`, `dynamic`, `roles`, `state`.
    """
    d = cluster.description
    made = [_database(cluster, alias, facts) for alias in d.databases_on(host)]
    return {"databases": made, "version": VERSION}


def _database(cluster: Cluster, alias: str, facts: Facts) -> dict[str, Any]:
    d, node = cluster.description, cluster.description.servers[alias]
    name = d.database(alias)
    return {
        "name": name,
        "port": node.port,
        "rest_port": rest_port(node),
        "hosts": [other.host for other in d.nodes[d.replicas.get(alias, alias)]],
        "begins": node.role == "primary",
        "settings": patroni.version_of(patroni.settings(cluster, alias, facts)),
        "shared": patroni.version_of(patroni.shared(d, alias)),
        "config": f"/etc/patroni/{name}.yml",
        "dynamic": f"{CONFIG}/{name}/dynamic.yml",
        "roles": f"{CONFIG}/{name}/roles.sql",
        "state": f"{CONFIG}/{name}/state.sql",
    }


def _database_files(cluster: Cluster, alias: str, facts: Facts) -> list[HostFile]:
    at, d = _database(cluster, alias, facts), cluster.description
    settings = patroni.settings(cluster, alias, facts, version=at["settings"])
    shared = patroni.shared(d, alias, version=at["shared"])
    state = template("roles_state.sql", database=at["name"])
    return [
        HostFile(at["config"], settings, 0o640, group="postgres"),
        HostFile(at["dynamic"], shared),
        HostFile(at["roles"], patroni.roles(cluster, alias), 0o640, group="postgres"),
        HostFile(at["state"], state),
    ]

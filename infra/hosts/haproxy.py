"""HAProxy on each pooler's host: one local port for each database, which leads to its primary.

It asks Patroni who that is, closes what is open to a former primary, and passes TLS through as it
is: PgBouncer verifies PostgreSQL's own certificate.
"""

__all__ = ["METRICS_PORT", "files"]

from typing import Any

from infra.hosts import Cluster, Facts, HostFile
from infra.hosts.ports import local_port
from infra.patroni import rest_port
from infra.rules import per_database
from infra.schema import Description, Node, Pooler
from infra.templating import template

METRICS_PORT = 8405


def files(cluster: Cluster, host: str, facts: Facts) -> list[HostFile]:
    d = cluster.description
    pooler = next(pooler for pooler in d.poolers if pooler.host == host)
    config = template(
        "haproxy.cfg",
        address=d.addresses[host],
        metrics_port=METRICS_PORT,
        max_connections=_most(d, pooler),
        databases=[_database(d, alias) for alias in d.servers],
        authorities="/etc/fulcrum/tls/ca.crt",
    )
    return [
        HostFile("/etc/haproxy/haproxy.cfg", config),
        HostFile(
            "/etc/systemd/system/haproxy.service.d/fulcrum.conf",
            template("haproxy.service.conf"),
        ),
    ]


def _most(d: Description, pooler: Pooler) -> int:
    """What its PgBouncer may open to all databases, twice: a reload has two of each for a while."""
    return 2 * per_database(pooler) * len(d.servers) + 100


def _database(d: Description, alias: str) -> dict[str, Any]:
    """What a port leads to: whichever node is primary; for a replica's alias, its own node.

    Once that one is primary, the node that began as one stands in for it, as a replica.
    """
    primary = d.replicas.get(alias, alias)
    wanted = "primary" if alias == primary else "replica"
    nodes = d.nodes[primary] if alias == primary else [d.servers[alias], d.servers[primary]]
    return {
        "name": d.pooled(alias),
        "port": local_port(d, alias),
        "wanted": wanted,
        "servers": [_server(d, node, alias != primary and n > 0) for n, node in enumerate(nodes)],
    }


def _server(d: Description, node: Node, backup: bool) -> dict[str, Any]:
    return {
        "host": node.host,
        "address": d.addresses[node.host],
        "port": node.port,
        "rest_port": rest_port(node),
        "backup": backup,
    }

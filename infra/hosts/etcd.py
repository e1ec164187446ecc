"""etcd: the hosts that agree on who is primary. One cluster serves the catalog and every shard."""

__all__ = ["CLIENT_PORT", "PEER_PORT", "endpoints", "files", "variables"]

from typing import Any

from infra.hosts import Cluster, Facts, HostFile
from infra.schema import Description
from infra.templating import template

CLIENT_PORT = 2379
PEER_PORT = 2380
CONFIG = "/etc/fulcrum/etcd.yml"


def endpoints(d: Description) -> list[str]:
    """Where Patroni and etcdctl reach it: name:port of every member, sorted."""
    return sorted(f"{member.host}:{CLIENT_PORT}" for member in d.etcd)


def files(cluster: Cluster, host: str, facts: Facts) -> list[HostFile]:
    d = cluster.description
    config = template(
        "etcd.yml",
        cluster=d.cluster,
        member=host,
        address=d.addresses[host],
        members=sorted(member.host for member in d.etcd),
        client_port=CLIENT_PORT,
        peer_port=PEER_PORT,
        tls="/etc/fulcrum/tls",
    )
    unit = template("etcd.service.conf", config=CONFIG)
    return [
        HostFile(CONFIG, config),
        HostFile("/etc/systemd/system/etcd.service.d/fulcrum.conf", unit),
    ]


def variables(cluster: Cluster, host: str, facts: Facts) -> dict[str, Any]:
    """`endpoints`: of all members, for etcdctl."""
    return {"endpoints": endpoints(cluster.description)}

"""Who may open a connection to whom: nftables on every host, and nothing that is not listed."""

__all__ = ["Way", "files", "ways"]

from collections.abc import Iterator
from dataclasses import dataclass

from infra.hosts import Cluster, Facts, HostFile
from infra.hosts.etcd import CLIENT_PORT, PEER_PORT
from infra.hosts.exporters import exporters
from infra.hosts.haproxy import METRICS_PORT
from infra.hosts.monitoring import PORT as PROMETHEUS_PORT
from infra.hosts.postgresql import rest_port
from infra.schema import Description
from infra.templating import template

WEB_PORTS = (80, 443)


@dataclass(frozen=True, order=True)
class Way:
    """`sources` (names of hosts; "*" is everybody) may open TCP connections to `host`:`port`."""

    host: str
    port: int
    what: str
    sources: frozenset[str]


def ways(d: Description) -> list[Way]:
    """Every way of the cluster but ssh, sorted. A host always reaches itself."""
    every = [*_databases(d), *_agreement(d), *_poolers(d), *_site(d), *_figures(d)]
    return sorted(every, key=lambda way: (way.host, way.port, way.what))


def _databases(d: Description) -> Iterator[Way]:
    """PostgreSQL and Patroni. The site's hosts come past the poolers for migrations and moves only.

    Shards subscribe: to the catalog for reference data, to each other while an account moves, from
    whichever node is primary by then.
    """
    poolers = {pooler.host for pooler in d.poolers}
    site = _site_hosts(d)
    shards = {node.host for shard in d.shards for node in shard.nodes}
    for alias, nodes in d.nodes.items():
        group = {node.host for node in nodes}
        for node in nodes:
            sources = poolers | site | group | shards
            yield _way(node.host, node.port, f"PostgreSQL of {alias}", sources)
            yield _way(node.host, rest_port(node), f"Patroni of {alias}", poolers | group)


def _agreement(d: Description) -> Iterator[Way]:
    members = {member.host for member in d.etcd}
    databases = {node.host for nodes in d.nodes.values() for node in nodes}
    for host in members:
        yield _way(host, CLIENT_PORT, "etcd", databases | members)
        yield _way(host, PEER_PORT, "etcd's members", members)


def _poolers(d: Description) -> Iterator[Way]:
    monitors = {member.host for member in d.monitors}
    site = _site_hosts(d)
    for pooler in d.poolers:
        yield _way(pooler.host, pooler.port, "PgBouncer", site | monitors)
        yield _way(pooler.host, METRICS_PORT, "HAProxy's metrics", monitors)
    for cache in d.caches:
        yield _way(cache.host, cache.port, f"Redis ({cache.purpose})", site | monitors)


def _site(d: Description) -> Iterator[Way]:
    balancers = {member.host for member in d.balancers}
    monitors = {member.host for member in d.monitors}
    for app in d.apps:
        yield _way(app.host, app.port, "the site", balancers | monitors)
    for host in monitors:
        yield _way(host, PROMETHEUS_PORT, "alerts, for the site", {app.host for app in d.apps})
    for host in balancers:
        for port in WEB_PORTS:
            yield Way(host, port, "the site, for everybody", frozenset("*"))


def _figures(d: Description) -> Iterator[Way]:
    """What monitors ask besides: every exporter, and what Patroni and etcd tell of themselves."""
    monitors = {member.host for member in d.monitors}
    for exporter in exporters(d):
        yield _way(exporter.host, exporter.port, f"figures: {exporter.name}", monitors)
    for alias, node in d.servers.items():
        yield _way(node.host, rest_port(node), f"figures: Patroni of {alias}", monitors)
    for member in d.etcd:
        yield _way(member.host, CLIENT_PORT, "figures: etcd", monitors)


def _site_hosts(d: Description) -> set[str]:
    return {app.host for app in d.apps} | {worker.host for worker in d.workers}


def _way(host: str, port: int, what: str, sources: set[str]) -> Way:
    return Way(host, port, what, frozenset(sources - {host}))


def files(cluster: Cluster, host: str, facts: Facts) -> list[HostFile]:
    """/etc/nftables.conf, which nftables.service loads whole or not at all."""
    d = cluster.description
    rules = [
        {
            "what": way.what,
            "port": way.port,
            "everybody": "*" in way.sources,
            "addresses": sorted(d.addresses[source] for source in way.sources - {"*"}),
        }
        for way in ways(d)
        if way.host == host and way.sources
    ]
    rendered = template("nftables.conf", host=host, ssh_from=d.ssh_from, rules=rules)
    return [HostFile("/etc/nftables.conf", rendered, 0o755)]

"""The texts behind one node of a database: Patroni's configuration and the roles. Pure.

PostgreSQL's settings come from postgresql.conf.j2, as on a local cluster, and from the host.
"""

__all__ = [
    "CONFIG",
    "VERSION",
    "hba",
    "rest_port",
    "roles",
    "settings",
    "shared",
    "trusted",
    "version_of",
]

import hashlib
import re
from typing import Any

from infra.hosts import Cluster, Facts
from infra.hosts.etcd import endpoints
from infra.rules import SYNC_WORKERS
from infra.schema import Description, Node
from infra.templating import template
from infra.tuning import WORKERS_MOST, tuning

REST_PORT = 8008
POSTGRES_PORT = 5432
VERSION = 17
TLS = "/etc/fulcrum/tls"
CONFIG = "/etc/fulcrum/postgresql"
DATA = f"/var/lib/postgresql/{VERSION}"
SOCKETS = "/var/run/postgresql"

REFERENCE_SLOT = "routers_reference_{shard}"
"""A shard's slot in the catalog, as routers.reference.replication_slots.slot_of names it."""

SHARED = ("max_connections", "max_replication_slots", "max_wal_senders", "wal_level")
"""Of the settings in postgresql.conf.j2, those that Patroni wants to be the same on every node."""

PATRONIS_OWN = ("cluster_name", "data_directory", "hba_file", "ident_file", "listen_addresses")
"""Settings of postgresql.conf.j2 that Patroni makes itself; and `port`."""

ROLES = ("app", "monitor", "mover", "owner", "replication", "rewind")


def rest_port(node: Node) -> int:
    """Where the node's Patroni is asked how it is: 8008 for the catalog, 8009 for shard 1, …"""
    return REST_PORT + node.port - POSTGRES_PORT


def version_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def settings(cluster: Cluster, alias: str, facts: Facts, version: str = "") -> str:
    """Patroni's configuration; `version` tells from outside which one a node runs with."""
    d, node = cluster.description, cluster.description.servers[alias]
    credentials = cluster.credentials
    return template(
        "patroni.yml",
        cluster=d.cluster,
        database=d.database(alias),
        host=node.host,
        address=d.addresses[node.host],
        port=node.port,
        rest_port=rest_port(node),
        etcd=endpoints(d),
        users={
            name: {"username": cluster.rotation.user(name), "password": getattr(credentials, name)}
            for name in ("replication", "rewind")
        },
        trusted=trusted(cluster),
        rest_password=credentials.patroni,
        shared=shared(d, alias, version=version_of(shared(d, alias))),
        hba=hba(d, alias),
        parameters=_own(d, alias, facts),
        data_directory=f"{DATA}/{d.database(alias)}",
        bin_directory=f"/usr/lib/postgresql/{VERSION}/bin",
        tls=TLS,
        version=version,
    )


def shared(d: Description, alias: str, version: str = "") -> str:
    """What every node of the database has, which is kept in etcd."""
    given = _postgresql_conf(d, alias)
    workers = d.postgres.max_replication_slots + 8 + WORKERS_MOST
    parameters = {key: given[key] for key in SHARED} | {"max_worker_processes": workers}
    return template(
        "patroni.dcs.yml",
        synchronous=d.synchronous,
        slots=_slots(d, alias),
        parameters=parameters,
        version=version,
    )


def trusted(cluster: Cluster) -> str:
    """Where Patroni reads whom its REST interface trusts. It reads anew only what is named anew."""
    return f"{CONFIG}/trusted-{version_of(cluster.authority.bundle)}.crt"


def _slots(d: Description, alias: str) -> dict[str, str]:
    """Those that a failover keeps. A database of one node has none, and needs none."""
    if d.replicas.get(alias, alias) != "default" or len(d.nodes["default"]) == 1:
        return {}
    return {REFERENCE_SLOT.format(shard=s.name)[:63]: d.database("default") for s in d.shards}


def _own(d: Description, alias: str, facts: Facts) -> dict[str, Any]:
    """What a node has for itself: all that depends on its host."""
    node = d.servers[alias]
    tuned = tuning(
        memory_mb=facts.memory_mb,
        cores=facts.cores,
        rotational=facts.rotational,
        databases_on_host=len(d.databases_on(node.host)),
        alone=not _beside(d, node.host),
        max_connections=d.postgres.max_connections,
    )
    fixed = d.postgres.shared_buffers
    given = _postgresql_conf(d, alias)
    own = {key: value for key, value in given.items() if key not in (*SHARED, *PATRONIS_OWN)}
    del own["port"], own["max_worker_processes"]
    return {
        **own,
        **tuned,
        **({"shared_buffers": fixed} if fixed else {}),
        "shared_preload_libraries": "pg_stat_statements",
        "pg_stat_statements.track_utility": "off",  # there are passwords in CREATE SUBSCRIPTION
        "ssl": "on",
        "ssl_cert_file": f"{TLS}/host.crt",
        "ssl_key_file": f"{TLS}/host.key",
        "ssl_ca_file": f"{TLS}/ca.crt",
        "ssl_min_protocol_version": "TLSv1.3",
        "max_standby_streaming_delay": "5s",
        "wal_receiver_status_interval": "1s",
    }


def _beside(d: Description, host: str) -> bool:
    """Whether something hungry for memory runs on the host besides PostgreSQL."""
    others = {app.host for app in d.apps} | {worker.host for worker in d.workers}
    return host in others | {cache.host for cache in d.caches}


def _postgresql_conf(d: Description, alias: str) -> dict[str, str]:
    """The settings that a local cluster has as well."""
    text = template(
        "postgresql.conf",
        cluster=d.cluster,
        alias=alias,
        postgres=d.postgres,
        listen="",
        port=0,
        socket_directory=SOCKETS,
        data_directory="",
        hba_file="",
        ident_file="",
        sync_workers=SYNC_WORKERS,
        primary=None,
    )
    return dict(re.findall(r"^(\w+) = '?(.*?)'?$", text, re.M))


def hba(d: Description, alias: str) -> list[str]:
    """pg_hba.conf: who must, from where they must, and only over TLS."""
    primary = d.replicas.get(alias, alias)
    nodes = _cidr(d, {node.host for node in d.nodes[primary]})
    shards = {node.host for shard in d.shards for node in shard.nodes}
    sites = {app.host for app in d.apps} | {worker.host for worker in d.workers}
    text = template(
        "pg_hba.conf",
        database=d.database(alias),
        kind="hostssl",
        superuser_addresses=[],
        owner_addresses=_cidr(d, sites),
        app_addresses=_cidr(d, {pooler.host for pooler in d.poolers}),
        monitor_addresses=["samehost", *_cidr(d, {monitor.host for monitor in d.monitors})],
        replication_addresses=nodes if len(d.nodes[primary]) > 1 else [],
        subscriber_addresses=_cidr(d, shards) if primary == "default" else [],
        rewind_addresses=nodes if len(d.nodes[primary]) > 1 else [],
        mover_addresses=_cidr(d, sites | shards),
        local_superuser=True,
    )
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def _cidr(d: Description, hosts: set[str]) -> list[str]:
    return sorted(f"{d.addresses[host]}/32" for host in hosts)


def roles(cluster: Cluster, alias: str) -> str:
    """Every role with the logins that it has now, and those that are locked."""
    d = cluster.description
    return template(
        "roles.sql",
        database=d.database(alias),
        publishes=d.replicas.get(alias, alias) == "default",
        verifiers={user: text for name in ROLES for user, text in cluster.verifiers(name).items()},
        locked=[user for name in ROLES for user in cluster.rotation.locked(name)],
        statistics=True,
    )

"""What gives figures of a host and its services to the monitors: one process for each of them.

Every exporter listens on its host's address, over TLS, for whoever shows a certificate of the
cluster; the firewall lets monitors only come. Without monitors there are none.
"""

__all__ = ["FOLDER", "Exporter", "exporters", "files", "variables"]

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from infra.hosts import Cluster, Facts, HostFile
from infra.hosts.pooler import RUN
from infra.schema import Cache, Description, Pooler
from infra.templating import template

FOLDER = "/etc/fulcrum/exporters"
TLS = "/etc/fulcrum/tls"
WEB = f"{FOLDER}/web.yml"
QUEUE = "celery"
"""The list at the broker in which Celery keeps the tasks that wait."""

NODE_PORT = 9100
REDIS_PORTS = {"cache": 9121, "broker": 9122}
POSTGRES_PORT = 9187
"""The catalog's; a shard's is higher by its number, as PostgreSQL's own port is. 9699 at most."""
POOLER_PORT = 9800
"""Process N's is so much and N."""

TITLES = {
    "node": "the host",
    "pgbouncer": "PgBouncer, process %i",
    "postgres": "PostgreSQL, %i",
    "redis": "Redis, the %i",
}


@dataclass(frozen=True, order=True)
class Exporter:
    """One process on `host`. `instance`: of `kind`, which it asks; labels are for Prometheus."""

    host: str
    kind: str
    instance: str
    port: int
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """Of its environment file; with another sign between, of its unit."""
        return f"{self.kind}-{self.instance}"

    @property
    def unit(self) -> str:
        return f"fulcrum-exporter-{self.kind}@{self.instance}.service"


def exporters(d: Description) -> list[Exporter]:
    """Every exporter of the cluster, sorted; none where nobody looks."""
    return sorted(_all(d)) if d.monitors else []


def _all(d: Description) -> Iterator[Exporter]:
    for host in d.hosts:
        yield Exporter(host, "node", "host", NODE_PORT)
    for alias, node in d.servers.items():
        port = POSTGRES_PORT + node.port - d.catalog.nodes[0].port
        database = d.database(alias)
        yield Exporter(node.host, "postgres", database, port, (("shard", database),))
    for pooler in d.poolers:
        for number in range(1, pooler.processes + 1):
            process = str(number)
            labels = (("process", process),)
            yield Exporter(pooler.host, "pgbouncer", process, POOLER_PORT + number, labels)
    for cache in d.caches:
        labels = (("purpose", cache.purpose),)
        yield Exporter(cache.host, "redis", cache.purpose, REDIS_PORTS[cache.purpose], labels)


def files(cluster: Cluster, host: str, facts: Facts) -> list[HostFile]:
    """A unit of each kind, an environment file of each exporter, and the settings of TLS."""
    here = _here(cluster.description, host)
    if not here:
        return []
    units = [_unit(kind) for kind in sorted({exporter.kind for exporter in here})]
    environments = [_environment(cluster, exporter) for exporter in here]
    return [HostFile(WEB, template("exporter_web.yml", tls=TLS)), *units, *environments]


def variables(cluster: Cluster, host: str, facts: Facts) -> dict[str, Any]:
    """`kinds` and `units` of the host's exporters; `environments`: the paths of their files."""
    here = _here(cluster.description, host)
    return {
        "kinds": sorted({exporter.kind for exporter in here}),
        "units": [exporter.unit for exporter in here],
        "environments": [_path(exporter) for exporter in here],
    }


def _here(d: Description, host: str) -> list[Exporter]:
    return [exporter for exporter in exporters(d) if exporter.host == host]


def _path(exporter: Exporter) -> str:
    return f"{FOLDER}/{exporter.name}.env"


def _unit(kind: str) -> HostFile:
    text = template("exporter.service", kind=kind, title=TITLES[kind], folder=FOLDER, tls=TLS)
    return HostFile(f"/etc/systemd/system/fulcrum-exporter-{kind}@.service", text)


def _environment(cluster: Cluster, exporter: Exporter) -> HostFile:
    """Where it listens, what it asks and as whom. Root reads it, before the process starts."""
    d, ask = cluster.description, {}
    if exporter.kind == "postgres":
        ask = _postgres(cluster, exporter)
    if exporter.kind == "pgbouncer":
        pooler = next(pooler for pooler in d.poolers if pooler.host == exporter.host)
        ask = _pgbouncer(pooler, cluster, exporter)
    if exporter.kind == "redis":
        ask = _redis(d.cache_for(exporter.instance), cluster)
    known = {"LISTEN": f"{d.addresses[exporter.host]}:{exporter.port}", **ask}
    text = "".join(f"{key}={value}\n" for key, value in known.items())
    return HostFile(_path(exporter), text, 0o640)


def _postgres(cluster: Cluster, exporter: Exporter) -> dict[str, str]:
    """By the host's own name: PostgreSQL listens on that address, and its certificate has it."""
    port = cluster.description.catalog.nodes[0].port + exporter.port - POSTGRES_PORT
    where = f"{exporter.host}:{port}/{exporter.instance}"
    query = f"sslmode=verify-full&sslrootcert={TLS}/ca.crt"
    user = f"{cluster.rotation.user('monitor')}:{cluster.credentials.monitor}"
    return {"DATA_SOURCE_NAME": f"postgresql://{user}@{where}?{query}"}


def _pgbouncer(pooler: Pooler, cluster: Cluster, exporter: Exporter) -> dict[str, str]:
    """By the process's socket: the port is of all processes, and any of them would answer."""
    words = {
        "host": f"/run/{RUN}/{exporter.instance}",
        "port": pooler.port,
        "dbname": "pgbouncer",
        "user": cluster.rotation.user("pooler_monitor"),
        "password": cluster.credentials.pooler_monitor,
        "sslmode": "disable",
    }
    text = " ".join(f"{key}={value}" for key, value in words.items())
    return {"PGBOUNCER_EXPORTER_CONNECTION_STRING": f'"{text}"'}


def _redis(cache: Cache, cluster: Cluster) -> dict[str, str]:
    queue = {"REDIS_EXPORTER_CHECK_SINGLE_KEYS": QUEUE} if cache.purpose == "broker" else {}
    return {
        "REDIS_ADDR": f"rediss://{cache.host}:{cache.port}",
        "REDIS_USER": cluster.rotation.user("redis_monitor"),
        "REDIS_PASSWORD": cluster.credentials.redis_monitor,
        **queue,
    }

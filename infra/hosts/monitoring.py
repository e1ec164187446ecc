"""Prometheus on the monitors: whom it asks, and what it warns of.

It answers over TLS, to whoever knows the probe's token: the site, which may show alerts, and
operators. Prometheus has it anyway, since it opens the site's figures. What its rules know of this
cluster is in infra/hosts/alerts.py.
"""

__all__ = ["PORT", "SITE_USER", "Job", "Target", "files", "jobs", "url", "variables"]

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any

from infra.hosts import Cluster, Facts, HostFile
from infra.hosts.alerts import thresholds
from infra.hosts.etcd import CLIENT_PORT
from infra.hosts.exporters import exporters
from infra.hosts.haproxy import METRICS_PORT
from infra.hosts.postgresql import rest_port
from infra.schema import Description
from infra.templating import template

CONFIG = "/etc/prometheus/prometheus.yml"
RULES = "/etc/prometheus/fulcrum.rules.yml"
TOKEN = "/etc/prometheus/probe_token"  # noqa: S105 - a path
UNIT = "/etc/systemd/system/prometheus.service.d/fulcrum.conf"
TLS = "/etc/fulcrum/tls"
WEB = "/etc/prometheus/web.yml"
"""How it answers. Its host writes it, since nobody else can make the hash of a password for it."""

PORT = 9090
SITE_USER = "fulcrum_site"


@dataclass(frozen=True, order=True)
class Target:
    """One address that is asked. `labels` come to all of its figures."""

    host: str
    port: int
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Job:
    """Targets of one kind. `token`: they want the probe's; over https they see a certificate."""

    name: str
    scheme: str
    targets: list[Target]
    token: bool = False


def url(host: str) -> str:
    """Where the Prometheus of `host` answers."""
    return f"https://{host}:{PORT}"


def jobs(d: Description) -> list[Job]:
    """All that is asked, sorted."""
    found = [
        *_exporters(d),
        Job("etcd", "https", [Target(member.host, CLIENT_PORT) for member in d.etcd]),
        Job("haproxy", "http", [Target(pooler.host, METRICS_PORT) for pooler in d.poolers]),
        Job("patroni", "https", list(_patroni(d))),
        Job("site", "http", [Target(app.host, app.port) for app in d.apps], token=True),
    ]
    return sorted(found, key=attrgetter("name"))


def _exporters(d: Description) -> Iterator[Job]:
    every = sorted(exporters(d), key=attrgetter("kind"))
    for kind, group in groupby(every, key=attrgetter("kind")):
        yield Job(kind, "https", [Target(e.host, e.port, e.labels) for e in group])


def _patroni(d: Description) -> Iterator[Target]:
    for alias, node in d.servers.items():
        yield Target(node.host, rest_port(node), (("shard", d.database(alias)),))


def files(cluster: Cluster, host: str, facts: Facts) -> list[HostFile]:
    """In the order in which they are put in place: prometheus.yml names the others."""
    d = cluster.description
    rendered = [{**vars(job), "targets": sorted(job.targets)} for job in jobs(d)]
    itself = {"host": host, "port": PORT, "user": SITE_USER}
    config = template(
        "prometheus.yml",
        cluster=d.cluster,
        itself=itself,
        jobs=rendered,
        rules=RULES,
        token=TOKEN,
        tls=TLS,
    )
    unit = template(
        "prometheus.service.conf", config=CONFIG, web=WEB, listen=f"{d.addresses[host]}:{PORT}"
    )
    token = f"{cluster.credentials.probe_token}\n"
    return [
        HostFile(TOKEN, token, 0o640, group="prometheus"),
        HostFile(RULES, template("prometheus_rules.yml", **thresholds(d))),
        HostFile(CONFIG, config),
        HostFile(UNIT, unit),
    ]


def variables(cluster: Cluster, host: str, facts: Facts) -> dict[str, Any]:
    """`url`, `user` and `token`: how this host's Prometheus is asked."""
    token = cluster.credentials.probe_token
    return {"url": url(host), "user": SITE_USER, "token": token}

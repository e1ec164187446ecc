"""What is wrong with a cluster, by what its hosts told ansible/status.yml. Pure.

From the same numbers on as Prometheus warns (infra/hosts/alerts.py), and without its waiting: a
cluster with nothing to be said of it has no findings.
"""

__all__ = ["Finding", "Seen", "findings"]

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from infra.hosts import alerts
from infra.schema import Description

Seen = dict[str, Any]
"""Host → what ansible/library/fulcrum_status.py returns, or {"away": why}."""

RUNS = ("running", "streaming")
FIRST = (
    *("host-down", "etcd-without-a-majority", "shard-down", "a-bad-release", "pooler-full"),
    *("redis-gone", "disk-fills", "replica-lags", "target-down", "certificate-near-its-end"),
)
"""Chapters, by what is to be looked at first: it may be the cause of the others."""
DAY = 86_400


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong. `chapter`: of ansible/RUNBOOKS.md, as in a link to it."""

    chapter: str
    text: str

    def __str__(self) -> str:
        return f"{self.text} (RUNBOOKS.md#{self.chapter})"


def findings(d: Description, seen: Seen) -> list[Finding]:
    """By what is to be looked at first. Of a host that is away or bare nothing more is said."""
    found = [finding for host in sorted(seen) for finding in _host(host, seen[host])]
    there = {host: told for host, told in seen.items() if "host" in told and not _bare(told)}
    for host, told in there.items():
        found += [*_pooler(d, host, told.get("pooler")), *_site(host, told.get("site"))]
        found += [*_caches(host, told.get("caches", {})), *_monitor(host, told.get("monitor"))]
    for alias in d.primaries:
        found += _database(d, alias, there)
    every = {*found, *_etcd(d, there), *_releases(d, there)}
    return sorted(every, key=lambda finding: (_rank(finding), finding.text))


def _rank(finding: Finding) -> int:
    return FIRST.index(finding.chapter) if finding.chapter in FIRST else len(FIRST)


def _bare(told: Seen) -> bool:
    return not any(told["host"].get("certificates", {"": 1}).values())


def _host(host: str, told: Seen) -> Iterator[Finding]:
    if "away" in told:
        yield Finding("host-down", f"{host} does not answer: {told['away']}")
        return
    if _bare(told):
        yield Finding("target-down", f"{host} is bare: ansible/site.yml has not run there")
        return
    yield from _error("target-down", host, told["host"])
    if "error" in told["host"]:
        return
    for unit in told["host"]["failed_units"]:
        yield Finding("target-down", f"{host}: the unit {unit} has failed")
    for disk in told["host"]["disks"]:
        if disk["free"] < alerts.DISK_LEFT * disk["size"]:
            left = f"{100 * disk['free'] // disk['size']} % left"
            yield Finding("disk-fills", f"{host}: {disk['mount']} has {left}")
    for file, ends in told["host"]["certificates"].items():
        days = None if ends is None else (ends - told["host"]["now"]) // DAY
        if days is None:
            yield Finding("certificate-near-its-end", f"{host} has no {file}")
        elif days < alerts.CERTIFICATE_DAYS:
            yield Finding("certificate-near-its-end", f"{host}: {file} ends in {days} days")


def _error(chapter: str, name: str, part: Any) -> Iterator[Finding]:
    if isinstance(part, dict) and "error" in part:
        yield Finding(chapter, f"{name}: {part['error']}")


def _database(d: Description, alias: str, there: Seen) -> Iterator[Finding]:
    """One database, by all of its nodes that answer."""
    name, hosts = d.database(alias), [node.host for node in d.nodes[alias]]
    told = {host: there[host]["databases"][name] for host in hosts if host in there}
    nodes = {host: parts["node"] for host, parts in told.items() if "error" not in parts["node"]}
    for host, parts in told.items():
        yield from _error("target-down", f"{name} on {host}", parts["node"])
        yield from _error("target-down", f"Patroni of {name} on {host}", parts["cluster"])
    primaries = [host for host, node in nodes.items() if not node["follows"]]
    unheard = [host for host in hosts if host not in nodes]
    if not primaries and not unheard:
        yield Finding("shard-down", f"{name} has no primary on {' or '.join(hosts)}")
    elif not primaries:
        why = f"nothing is heard of its node on {' and '.join(unheard)}"
        yield Finding("shard-down", f"whether {name} has a primary is unknown: {why}")
    if len(primaries) > 1:
        yield Finding("shard-down", f"{name} has two primaries: {', '.join(primaries)}")
    yield from _members(name, hosts, told)
    for host, node in nodes.items():
        yield from _node(d, f"{name} on {host}", node)


def _members(name: str, hosts: list[str], told: Seen) -> Iterator[Finding]:
    """By the view of the first Patroni that answers: all of them read it from etcd."""
    view = next((p["cluster"] for p in told.values() if "error" not in p["cluster"]), None)
    if view is None:
        return
    if view["paused"]:
        yield Finding("shard-down", f"{name}: Patroni is paused, nobody would fail over")
    members = {member["name"]: member for member in view["members"]}
    for host in hosts:
        state = members[host]["state"] if host in members else "not among Patroni's members"
        if state not in RUNS:
            yield Finding("replica-lags", f"{name} on {host} is {state}")
        lag = members.get(host, {}).get("lag") or 0
        if isinstance(lag, int) and lag > alerts.LAG_BYTES:
            yield Finding("replica-lags", f"{name} on {host} is {lag // 2**20} MiB behind")


def _node(d: Description, name: str, node: Seen) -> Iterator[Finding]:
    if node["connections"] > alerts.FULL * node["most"]:
        used = f"{node['connections']} of {node['most']} connections"
        yield Finding("pooler-full", f"{name} has {used}")
    for slot in node["slots"]:
        if slot["status"] in ("lost", "unreserved"):
            yield Finding("replica-lags", f"{name}: the slot {slot['name']} is {slot['status']}")
        elif (slot["bytes"] or 0) > alerts.thresholds(d)["wal_bytes"]:
            holds = f"{slot['bytes'] // 2**20} MiB of WAL"
            yield Finding("replica-lags", f"{name}: the slot {slot['name']} holds {holds}")


def _pooler(d: Description, host: str, told: Any) -> Iterator[Finding]:
    yield from _error("target-down", f"PgBouncer on {host}", told)
    if not told or "error" in told:
        return
    wanted = next(pooler.processes for pooler in d.poolers if pooler.host == host)
    if (there := told["processes"]) < wanted:
        yield Finding("target-down", f"PgBouncer on {host}: {there} of {wanted} processes answer")
    for row in told["pools"]:
        where = f"{row['database']} at process {row['process']}"
        if row["state"] == "paused":
            yield Finding("pooler-full", f"{where} is paused")
        elif int(row["wait_ms"]) > alerts.WAIT_SECONDS * 1000:
            yield Finding("pooler-full", f"{row['waiting']} wait for {where}, {row['wait_ms']} ms")


def _caches(host: str, caches: Seen) -> Iterator[Finding]:
    for purpose, told in caches.items():
        name = f"the {purpose} on {host}"
        yield from _error("redis-gone", name, told)
        if "error" in told:
            continue
        if purpose == "broker" and told["used_memory"] > alerts.MEMORY * told["maxmemory"]:
            yield Finding("redis-gone", f"{name} is nearly full, and refuses tasks then")
        if told.get("waiting", 0) > alerts.QUEUE:
            yield Finding("redis-gone", f"{told['waiting']} tasks wait at {name}")
        for key in ("aof_last_write_status", "aof_last_bgrewrite_status"):
            if told["aof_enabled"] and told[key] != "ok":
                yield Finding("redis-gone", f"{name}: {key} is {told[key]}")


def _site(host: str, told: Any) -> Iterator[Finding]:
    yield from _error("a-bad-release", f"the site on {host}", told)
    if told and "error" not in told:
        if not told["ready"]:
            yield Finding("a-bad-release", f"the site on {host} is not ready")
        for text in told["degraded"]:
            chapter = "redis-gone" if text.startswith("Redis") else "shard-down"
            yield Finding(chapter, f"the site on {host} says: {text}")


def _monitor(host: str, told: Any) -> Iterator[Finding]:
    yield from _error("target-down", f"Prometheus on {host}", told)
    if told and "error" not in told:
        for url in told["down"]:
            yield Finding("target-down", f"Prometheus on {host} gets no figures from {url}")
        for alert in told["alerts"]:
            yield Finding(alert["chapter"], f"{alert['name']}: {alert['summary']}")


def _etcd(d: Description, there: Seen) -> Iterator[Finding]:
    members = [member.host for member in d.etcd]
    told = {host: there[host]["etcd"] for host in members if host in there}
    healthy = [host for host, part in told.items() if part.get("healthy")]
    if members and len(healthy) <= len(members) // 2:
        said = f"{len(healthy)} of {len(members)} members are healthy"
        yield Finding("etcd-without-a-majority", f"etcd: {said}")
    for host in set(told) - set(healthy):
        why = told[host].get("error") or told[host].get("reason") or "not healthy"
        yield Finding("etcd-without-a-majority", f"etcd on {host}: {why}")


def _releases(d: Description, there: Seen) -> Iterator[Finding]:
    """Every host of the site serves one, and the same."""
    hosts = sorted(({a.host for a in d.apps} | {w.host for w in d.workers}) & set(there))
    serves = {host: there[host]["host"].get("release") for host in hosts}
    if len(set(serves.values())) > 1:
        said = ", ".join(f"{host} {release or 'none'}" for host, release in serves.items())
        yield Finding("a-bad-release", f"not one release serves everywhere: {said}")

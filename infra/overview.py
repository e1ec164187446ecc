"""The whole cluster as one text: what ansible/status.yml shows. Pure."""

__all__ = ["overview", "seen_of"]

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from infra.findings import DAY, Seen, findings
from infra.schema import Description

Row = tuple[str, ...]


def seen_of(results: Mapping[str, Mapping[str, Any]]) -> Seen:
    """From what Ansible registers on each host."""
    return {
        host: result["seen"] if "seen" in result else {"away": _why(result)}
        for host, result in results.items()
    }


def _why(result: Mapping[str, Any]) -> str:
    said = str(result.get("msg") or "no answer").strip()
    return said.splitlines()[-1].rpartition("ssh: ")[2][:160]


def overview(d: Description, seen: Seen) -> dict[str, Any]:
    """`text`, of lines; `findings`, a line each, none where all is well."""
    said = [str(finding) for finding in findings(d, seen)]
    tables = (_hosts(d, seen), _databases(d, seen), _poolers(seen), _caches(seen))
    text = "\n\n".join([_head(d, seen, len(said)), *(_table(rows) for rows in tables)])
    return {"text": text, "findings": said}


def _head(d: Description, seen: Seen, wrong: int) -> str:
    answer = sum("host" in told for told in seen.values())
    etcd = sum(told.get("etcd", {}).get("healthy", False) for told in seen.values())
    maps = {told["site"]["map"] for told in seen.values() if told.get("site", {}).get("map")}
    version = ", ".join(map(str, sorted(maps))) or "unknown"
    parts = [
        f"{d.cluster}: {answer} of {len(seen)} hosts answer",
        f"etcd: {etcd} of {len(d.etcd)} members healthy",
        f"map version {version}",
        _alerts(seen),
        f"findings: {wrong or 'none'}",
    ]
    return " · ".join(parts)


def _alerts(seen: Seen) -> str:
    monitors = [told["monitor"] for told in seen.values() if told.get("monitor")]
    heard = [told for told in monitors if "error" not in told]
    names = sorted({alert["name"] for told in heard for alert in told["alerts"]})
    if not heard:
        return "alerts: unknown" if monitors else "no monitor"
    return f"alerts: {', '.join(names) or 'none'}"


def _table(rows: list[Row]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def _hosts(d: Description, seen: Seen) -> list[Row]:
    head = ("HOST", "UP", "LOAD", "MEMORY", "DISK FREE", "FAILED", "CERTIFICATE", "RELEASE", "DOES")
    return [head, *(_host(d, host, seen[host]) for host in sorted(seen))]


def _host(d: Description, host: str, told: Seen) -> Row:
    does = " ".join(_groups(d, host))
    part = told.get("host", {})
    if "away" in told or "error" in part:
        return (host, "away" if "away" in told else "?", "", "", "", "", "", "", does)
    used = 100 - 100 * part["memory_available"] // part["memory_total"]
    days = [(end - part["now"]) // DAY for end in part["certificates"].values() if end is not None]
    return (
        host,
        _duration(part["up_seconds"]),
        f"{part['load']:.1f}/{part['cores']}",
        f"{used} % of {_size(part['memory_total'])}",
        ", ".join(_disk(disk) for disk in part["disks"]),
        str(len(part["failed_units"]) or "-"),
        f"{min(days)} d" if days else "none",
        (part["release"] or "-")[:24],
        does,
    )


def _disk(disk: Seen) -> str:
    share = 100 * disk["free"] // max(disk["size"], 1)
    return f"{share} % of {_size(disk['size'])} {disk['mount']}"


def _groups(d: Description, host: str) -> Iterator[str]:
    """What the inventory makes of the host."""
    yield from sorted(d.database(alias) for alias in d.databases_on(host))
    groups: dict[str, Sequence[Any]] = {
        "etcd": d.etcd,
        "pooler": d.poolers,
        "app": d.apps,
        "worker": d.workers,
        "balancer": d.balancers,
        "monitor": d.monitors,
    }
    yield from (name for name, members in groups.items() if any(m.host == host for m in members))
    yield from (cache.purpose for cache in d.caches if cache.host == host)


def _databases(d: Description, seen: Seen) -> list[Row]:
    head = ("DATABASE", "NODE", "ROLE", "STATE", "TIMELINE", "LAG", "CONNECTIONS", "SIZE", "SLOTS")
    rows = [
        _node(d.database(alias), node.host, seen)
        for alias, nodes in d.nodes.items()
        for node in nodes
    ]
    return [head, *rows]


def _node(name: str, host: str, seen: Seen) -> Row:
    """State and lag by Patroni, as any host sees it; the rest by the node itself."""
    parts = seen.get(host, {}).get("databases", {}).get(name, {})
    node = parts.get("node", {"error": "away"})
    member = _member(name, host, seen)
    state, lag = str(member.get("state", "?")), member.get("lag")
    if "error" in node:
        return (name, host, str(member.get("role", "?")), state, "", "", "", "", "")
    slots = [f"{s['name']} {_size(s['bytes'] or 0)}" for s in node["slots"]]
    return (
        name,
        host,
        "replica" if node["follows"] else "primary",
        state,
        str(node["timeline"]),
        (_size(lag) if isinstance(lag, int) else "?") if node["follows"] else "-",
        f"{node['connections']}/{node['most']}",
        _size(node["size"]),
        ", ".join(slots) or "-",
    )


def _member(name: str, host: str, seen: Seen) -> Seen:
    for told in seen.values():
        view = told.get("databases", {}).get(name, {}).get("cluster", {})
        for member in view.get("members", []):
            if member["name"] == host:
                return dict(member)
    return {}


def _poolers(seen: Seen) -> list[Row]:
    head = ("POOLER", "PROCESSES", "CLIENTS", "WAIT", "LONGEST", "PAUSED")
    return [head, *(_pooler(host, told["pooler"]) for host, told in _having(seen, "pooler"))]


def _pooler(host: str, told: Seen) -> Row:
    if "error" in told:
        return (host, "?", "", "", "", "")
    rows = told["pools"]
    paused = sorted({row["database"] for row in rows if row["state"] == "paused"})
    return (
        host,
        str(told["processes"]),
        str(sum(int(row["clients"]) for row in rows)),
        str(sum(int(row["waiting"]) for row in rows)),
        f"{max((int(row['wait_ms']) for row in rows), default=0)} ms",
        ", ".join(paused) or "-",
    )


def _caches(seen: Seen) -> list[Row]:
    head = ("REDIS", "HOST", "MEMORY", "HITS", "EVICTED", "ON DISK", "TASKS WAIT")
    rows = [
        _cache(purpose, host, told["caches"][purpose])
        for host, told in _having(seen, "caches")
        for purpose in sorted(told["caches"])
    ]
    return [head, *rows]


def _cache(purpose: str, host: str, told: Seen) -> Row:
    if "error" in told:
        return (purpose, host, "?", "", "", "", "")
    asked = told["keyspace_hits"] + told["keyspace_misses"]
    return (
        purpose,
        host,
        f"{_size(told['used_memory'])} of {_size(told['maxmemory'])}",
        f"{100 * told['keyspace_hits'] // asked} %" if asked else "-",
        str(told["evicted_keys"]),
        told["aof_last_write_status"] if told["aof_enabled"] else "-",
        str(told.get("waiting", "-")),
    )


def _having(seen: Seen, name: str) -> Iterator[tuple[str, Seen]]:
    return ((host, seen[host]) for host in sorted(seen) if seen[host].get(name))


def _duration(seconds: int) -> str:
    if seconds < 7200:
        return f"{seconds // 60} min"
    return f"{seconds / 3600:.1f} h" if seconds < 2 * DAY else f"{seconds / DAY:.1f} d"


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"

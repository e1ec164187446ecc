"""What every host has: the names of the others."""

__all__ = ["files", "variables"]

from typing import Any

from infra.hosts import Cluster, Facts, HostFile
from infra.schema import Description


def files(cluster: Cluster, host: str, facts: Facts) -> list[HostFile]:
    """None of its own: /etc/hosts is the system's, and has a block of ours."""
    return []


def variables(cluster: Cluster, host: str, facts: Facts) -> dict[str, Any]:
    """`hosts`: our block of /etc/hosts."""
    return {"hosts": _hosts(cluster.description, host)}


def _hosts(d: Description, host: str) -> str:
    """Every host; on a pooler also each database, which HAProxy serves there at this address."""
    lines = [f"{address} {name}" for name, address in sorted(d.addresses.items())]
    if any(pooler.host == host for pooler in d.poolers):
        databases = sorted(d.database(alias) for alias in d.primaries)
        lines.append(f"127.0.0.1 {' '.join(databases)}")
    return "\n".join(lines)

"""What is worth waking somebody for: the numbers in infra/templates/prometheus_rules.yml.j2."""

__all__ = ["files", "thresholds"]

import re
from typing import Any

from infra.hosts import Cluster, Facts, HostFile
from infra.schema import Description

LAG_BYTES = 16 * 2**20
"""Patroni's maximum_lag_on_failover: a replica further behind is not made primary."""

FULL = 0.8
"""Of connections and clients: a peak has room for a quarter more."""

DISK_LEFT = 0.1
"""ext4 keeps a twentieth for root; so much is left to act."""

DISK_SOON = 0.4
"""Only a disk with less left is said to fill: a restored backup alone is no trend."""

WAIT_SECONDS = 1
"""For a connection of a pool. query_wait_timeout, where clients get errors, is a few times that."""

MEMORY = 0.85
"""Of the broker, which forgets nothing: full, it refuses tasks."""

ERRORS = 0.01
"""Of the site's queries. Conflicts that the site answers for itself (IntegrityError) count not."""

MAP_SECONDS = 60
"""Every process asks for the map's version each ten seconds: six looks that failed."""

QUEUE = 1000
"""Tasks that wait while their number grows: minutes of work for four at a time."""

CERTIFICATE_DAYS = 21
"""site.yml makes it anew 30 days before its end: then nobody ran it for nine days."""

UNITS = {"kB": 2**10, "MB": 2**20, "GB": 2**30}


def thresholds(d: Description) -> dict[str, Any]:
    """What the template needs, by its names."""
    return {
        "lag_bytes": LAG_BYTES,
        "wal_bytes": _bytes(d.postgres.max_slot_wal_keep_size) // 2,
        "full": FULL,
        "disk_left": DISK_LEFT,
        "disk_soon": DISK_SOON,
        "wait_seconds": WAIT_SECONDS,
        "memory": MEMORY,
        "errors": ERRORS,
        "map_seconds": MAP_SECONDS,
        "queue": QUEUE,
        "certificate_days": CERTIFICATE_DAYS,
        "etcd_majority": len(d.etcd) // 2 + 1,
    }


def _bytes(size: str) -> int:
    number, unit = re.fullmatch(r"([0-9]+)(kB|MB|GB)", size).groups()  # type: ignore[union-attr]
    return int(number) * UNITS[unit]


def files(cluster: Cluster, host: str, facts: Facts) -> list[HostFile]:
    """None: infra/hosts/monitoring.py has the file with the rules."""
    return []

"""What a PostgreSQL does with the machine that it has. Pure arithmetic; sizes are in MB."""

__all__ = ["LEAST_MB", "tuning"]

from typing import Any

LEAST_MB = 256
"""Less memory for one database is reckoned as this much."""

WORKERS_MOST = 64
"""max_worker_processes has room for so many parallel ones: see infra/patroni.py."""


def tuning(
    *,
    memory_mb: int,
    cores: int,
    rotational: bool,
    databases_on_host: int,
    alone: bool,
    max_connections: int,
) -> dict[str, Any]:
    """postgresql.conf's settings for one of the host's databases, from what the host is.

    Databases of one host share its memory evenly; where other services run beside them (`alone` is
    false), those have half of it. Cores are not shared out: databases are seldom busy all at once.
    """
    share = max(LEAST_MB, memory_mb // (1 if alone else 2) // max(1, databases_on_host))
    return {**_memory(share, max_connections), **_workers(cores), **_disk(rotational, share)}


def _memory(share: int, max_connections: int) -> dict[str, Any]:
    """A quarter is PostgreSQL's own; most of the rest is the file system's cache."""
    buffers = share // 4
    # All connections may sort at once; a query that sorts twice finds many that do not.
    sort = (share - buffers) // max_connections
    return {
        "shared_buffers": _mb(buffers),
        "effective_cache_size": _mb(share * 3 // 4),
        "work_mem": _mb(_between(4, sort, 256)),
        "maintenance_work_mem": _mb(_between(32, share // 16, 2048)),
        "autovacuum_work_mem": _mb(_between(32, share // 32, 1024)),
    }


def _workers(cores: int) -> dict[str, Any]:
    return {
        "max_parallel_workers": _between(2, cores, WORKERS_MOST),
        "max_parallel_workers_per_gather": _between(1, cores // 2, 4),
        "max_parallel_maintenance_workers": _between(1, cores // 2, 4),
        "autovacuum_max_workers": _between(3, cores // 4, 8),
    }


def _disk(rotational: bool, share: int) -> dict[str, Any]:
    """A page anywhere costs a solid-state disk about as much as the next; others have to seek."""
    return {
        "random_page_cost": 4.0 if rotational else 1.1,
        "effective_io_concurrency": 2 if rotational else 200,
        "maintenance_io_concurrency": 10 if rotational else 200,
        # Checkpoints by time, not by volume, as far as the host is of a size to write that much.
        "max_wal_size": _mb(_between(1024, share // 2, 16384)),
        "min_wal_size": _mb(_between(128, share // 16, 2048)),
        "checkpoint_timeout": "15min",
    }


def _between(least: int, value: int, most: int) -> int:
    return max(least, min(value, most))


def _mb(size: int) -> str:
    return f"{size}MB"

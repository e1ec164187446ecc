"""Prometheus metrics of a server's processes: queries by database, the map, shards and pools.

With PROMETHEUS_MULTIPROC_DIR all processes of a host count into files there, and whoever is asked
answers for all. Files of processes that have ended are folded into one, so that no count is lost
and none stays behind; no hook of the server is needed.
"""

import fcntl
import glob
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from routers.deadline import is_own
from routers.shard_map import watch

__all__ = ["expose", "registry", "start"]

BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
FOLDED = "ended"

registry = CollectorRegistry()  # a project's own metrics may stand in it too
QUERY_SECONDS = Histogram(
    "routers_query_seconds",
    "Seconds of a query, as its caller waited for it: pool, network and server",
    ["database"],
    buckets=BUCKETS,
    registry=registry,
)
QUERY_ERRORS = Counter(
    "routers_query_errors",
    "Queries that raised, by the class of the error",
    ["database", "error"],
    registry=registry,
)
MAP_VERSION = Gauge(
    "routers_map_version",
    "Version of the shard map; of several processes the oldest",
    multiprocess_mode="livemin",
    registry=registry,
)
MAP_AGE = Gauge(
    "routers_map_age_seconds",
    "Seconds since the catalog confirmed the shard map; of several processes the longest",
    multiprocess_mode="livemax",
    registry=registry,
)


def start() -> None:
    """Count the queries of every connection that this process opens from now on. Twice is once."""
    connection_created.connect(_observe, dispatch_uid="routers.metrics")
    watch.tell_every_second(_note_map)


def _note_map(version: int, age_seconds: float) -> None:
    MAP_VERSION.set(version)
    MAP_AGE.set(age_seconds)


def expose() -> bytes:
    """All metrics in Prometheus' text format; shards and poolers are asked for theirs."""
    from routers.health.pools import pools
    from routers.health.readiness import report

    directory = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    asked = CollectorRegistry()
    asked.register(_Families([*report().families(), *pools()]))
    if directory is None:
        return generate_latest(registry) + generate_latest(asked)
    counted = CollectorRegistry()
    MultiProcessCollector(counted, path=directory)
    with _alone(Path(directory)):
        _fold(Path(directory))
        return generate_latest(counted) + generate_latest(asked)


class _Families(Collector):
    """Metrics that are made anew for each answer."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


def gauge(name: str, help: str, label: str, values: dict[str, float]) -> GaugeMetricFamily:
    """One gauge, label value → value."""
    family = GaugeMetricFamily(name, help, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _observe(sender: object, connection: BaseDatabaseWrapper, **kwargs: object) -> None:
    """Django's `connection_created`: time what runs there, once however often it reconnects."""
    known = any(isinstance(wrapper, _Timer) for wrapper in connection.execute_wrappers)
    if not known and not is_own(connection):
        connection.execute_wrappers.append(_Timer(connection.alias))


class _Timer:
    """Django's execute wrapper of one connection. Runs at every query, so it is short."""

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._observe = QUERY_SECONDS.labels(alias).observe

    def __call__(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        began = perf_counter()
        try:
            return execute(sql, params, many, context)
        except Error as error:
            QUERY_ERRORS.labels(self._alias, type(error).__name__).inc()
            raise
        finally:
            self._observe(perf_counter() - began)


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """No other process reads or folds meanwhile: it would count an ended process twice."""
    with (directory / "fold.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fold(directory: Path) -> None:
    """Add the counts of ended processes to those of FOLDED; delete their files and gauges."""
    for path in map(Path, glob.glob(f"{directory}/*_[0-9]*.db")):
        kind, _, pid = path.stem.rpartition("_")
        if _lives(int(pid)):
            continue
        if not kind.startswith("gauge"):
            _add(path, directory / f"{kind}_{FOLDED}.db")
        path.unlink()


def _add(ended: Path, total: Path) -> None:
    files = [str(path) for path in (ended, total) if path.exists()]
    merged = MultiProcessCollector.merge(files, accumulate=False)
    target = MmapedDict(str(total))
    for metric in merged:
        for sample in metric.samples:
            names, values = list(sample.labels), list(sample.labels.values())
            key = mmap_key(metric.name, sample.name, names, values, metric.documentation)
            target.write_value(key, sample.value, 0.0)
    target.close()


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

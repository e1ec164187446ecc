"""The last hour, as Prometheus has it: GET /api/v1/query_range, and small drawings of that."""

import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from console.kept import Kept
from console.monitors import Monitor, MonitorSilent, ask_each
from console.monitors import ask as ask_monitor

__all__ = ["CHARTS", "Chart", "Line", "history", "line"]

HOUR = 3600
STEP = 60
KEPT_SECONDS = 30.0
WIDTH, HEIGHT = 120, 28
DATABASE = "database"

Points = list[tuple[float, float]]
"""Seconds since the first, value. A value that is not known is left out."""


@dataclass(frozen=True)
class Chart:
    """What is drawn: PromQL, and how a person reads it. `by`: a label, for a line of each value."""

    name: str
    title: str
    unit: str
    query: str
    by: str = ""


_HITS, _MISSES = (
    f'sum(rate(redis_keyspace_{kind}_total{{purpose="cache"}}[5m]))' for kind in ("hits", "misses")
)
CHARTS = (
    Chart("queries", "Queries", "/s", "sum(rate(routers_query_seconds_count[5m]))"),
    Chart(
        "milliseconds",
        "Mean query",
        "ms",
        "1000 * sum(rate(routers_query_seconds_sum[5m]))"
        " / sum(rate(routers_query_seconds_count[5m]))",
    ),
    Chart("errors", "Failed queries", "/s", "sum(rate(routers_query_errors_total[5m]))"),
    Chart("waits", "Longest pool wait", "s", "max(pgbouncer_pools_client_maxwait_seconds)"),
    Chart("hits", "Cache hits", "%", f"100 * {_HITS} / ({_HITS} + {_MISSES})"),
    Chart(
        "busy",
        "Busiest host",
        "%",
        '100 * max(1 - avg by (host) (rate(node_cpu_seconds_total{mode="idle"}[5m])))',
    ),
    Chart(
        "by_database",
        "Queries",
        "/s",
        "sum by (database) (rate(routers_query_seconds_count[5m]))",
        by=DATABASE,
    ),
)


@dataclass(frozen=True)
class Line:
    """A drawing: `paths` of SVG in a box of WIDTH and HEIGHT from zero to `most`, and its words."""

    title: str
    unit: str
    paths: list[str]
    last: float
    least: float
    most: float
    end: tuple[str, str]
    """Where the newest value is."""

    @property
    def now(self) -> str:
        return _short(self.last)

    @property
    def low(self) -> str:
        return _short(self.least)

    @property
    def high(self) -> str:
        return _short(self.most)


def history() -> dict[str, dict[str, Points]] | None:
    """Chart → value of its label, or "" → points; None where no monitor tells."""
    told = _kept.get()
    return told["charts"] if told["known"] else None


def line(chart: Chart, points: Points) -> Line | None:
    """The drawing of one series; None without a value."""
    if not points:
        return None
    values = [value for _, value in points]
    most = max(values)
    scale = most or 1.0
    places = [(WIDTH * t / HOUR, HEIGHT - 2 - (HEIGHT - 4) * v / scale) for t, v in points]
    x, y = places[-1]
    return Line(
        chart.title,
        chart.unit,
        [*_paths(points, places)],
        values[-1],
        min(values),
        most,
        (f"{x:.1f}", f"{y:.1f}"),
    )


def _paths(points: Points, places: Sequence[tuple[float, float]]) -> Iterator[str]:
    """A path for each stretch without a gap: nothing is drawn where nothing is known."""
    stretch: list[str] = []
    for index, (x, y) in enumerate(places):
        if index and points[index][0] - points[index - 1][0] > 1.5 * STEP:
            yield "M" + "L".join(stretch)
            stretch = []
        stretch.append(f"{x:.1f} {y:.1f}")
    yield "M" + "L".join(stretch)


def _find() -> dict[str, Any]:
    """From the first monitor that tells; all are asked, so that one away costs no more time."""
    for charts in ask_each(_charts_of).values():
        if not isinstance(charts, MonitorSilent):
            return {"known": True, "charts": charts}
    return {"known": False, "charts": {}}


_kept = Kept("history", KEPT_SECONDS, _find)


def _charts_of(monitor: Monitor) -> dict[str, dict[str, Points]]:
    end = int(time.time()) // STEP * STEP
    window = {"start": end - HOUR, "end": end, "step": STEP}

    def one(chart: Chart) -> dict[str, Points]:
        data = ask_monitor(monitor, "/api/v1/query_range", {"query": chart.query, **window})
        return _series(data, chart.by, end - HOUR)

    with ThreadPoolExecutor(max_workers=len(CHARTS), thread_name_prefix="history") as pool:
        return dict(zip((chart.name for chart in CHARTS), pool.map(one, CHARTS), strict=True))


def _series(data: Any, by: str, start: int) -> dict[str, Points]:
    try:
        if data["resultType"] != "matrix":
            raise ValueError(data["resultType"])
        return {
            str(series["metric"].get(by, "")): _points(series["values"], start)
            for series in data["result"]
        }
    except (LookupError, TypeError, AttributeError, ValueError):
        raise MonitorSilent("answers with something that is no series of values") from None


def _points(values: Sequence[Sequence[Any]], start: int) -> Points:
    read = [(float(moment) - start, float(value)) for moment, value in values]
    return [(moment, value) for moment, value in read if math.isfinite(value)]


def _short(value: float) -> str:
    """Three figures, or all of those before the point."""
    size = abs(value)
    places = 0 if size >= 100 or value == 0 else 1 if size >= 10 else 2 if size >= 0.01 else 4
    return f"{value:,.{places}f}"

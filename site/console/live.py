"""What the console shows at once: alerts, every database, the last hour."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.utils import timezone

from console.alerts import Alerts, alerts, last_heard
from console.aside import Aside
from console.databases import Figures, Look, Pool, look
from console.history import CHARTS, Line, Points, history, line
from console.kept import Kept
from console.monitors import monitors
from console.slots import slot_picture
from routers.conf import CATALOG

__all__ = ["Row", "live"]

MONITOR_SECONDS = 5.0
ACCOUNTS_SECONDS = 30.0
BY_DATABASE = CHARTS[-1]


@dataclass(frozen=True)
class Row:
    """A database in the table. `slots`, `accounts`: None where unknown, and for the catalog."""

    figures: Figures
    slots: int | None
    accounts: int | None
    pool: Pool | None
    line: Line | None

    @property
    def name(self) -> str:
        return _name(self.figures)

    @property
    def is_full(self) -> bool:
        """Whether connections come near their most."""
        most = self.figures.most_connections
        return bool(most) and 5 * (self.figures.connections or 0) > 4 * (most or 0)


def live() -> dict[str, Any]:
    """The context of console/live.html. Never raises for something that is away."""
    asked_alerts, asked_history = Aside(alerts), Aside(history)
    accounts = _accounts.get()  # takes the map too, if nobody has
    seen = look()
    told = asked_alerts.answer(MONITOR_SECONDS) or _no_answer()
    hour = asked_history.answer(MONITOR_SECONDS)
    troubles = [*_troubles(seen, told)]
    return {
        "at": timezone.now(),
        "alerts": told,
        "seen": seen,
        "rows": [*_rows(seen, accounts, hour or {})],
        "lines": None if hour is None else [*_lines(hour)],
        "accounts": accounts.get("total"),
        "size_bytes": _sum(figures.size_bytes for figures in seen.shards),
        "waiting": _sum(pool.waiting for pool in (seen.pools or {}).values()),
        "answering": sum(figures.error is None for figures in seen.shards),
        "per_second": _sum(figures.per_second for figures in seen.shards),
        "verdict": _verdict(seen, told, troubles),
        "troubles": troubles,
    }


def _rows(
    seen: Look, accounts: dict[str, Any], hour: dict[str, dict[str, Points]]
) -> Iterator[Row]:
    by_database = hour.get(BY_DATABASE.name, {})
    for figures in (*seen.shards, seen.catalog):
        alias = figures.alias
        yield Row(
            figures,
            accounts.get("slots", {}).get(alias),
            accounts.get("by_shard", {}).get(alias),
            (seen.pools or {}).get(str(settings.DATABASES[alias]["NAME"])),
            line(BY_DATABASE, by_database.get(alias, [])),
        )


def _lines(hour: dict[str, dict[str, Points]]) -> Iterator[Line]:
    for chart in CHARTS:
        drawn = line(chart, hour.get(chart.name, {}).get("", []))
        if not chart.by and drawn is not None:
            yield drawn


def _troubles(seen: Look, told: Alerts) -> Iterator[str]:
    """What is amiss, in words, whether or not an alert says it too."""
    yield from seen.report.degraded
    report = seen.report
    answered = {CATALOG: report.catalog, **report.shards, **report.replicas}
    for figures in (seen.catalog, *seen.shards):
        for one in (figures, *figures.replicas):
            if one.error is not None and answered[one.alias].up:  # went away since, or is slow
                yield f"{_name(one)} away: {one.error}"
    for pooler in seen.poolers_away:
        yield f"pooler away: {pooler}"
    for url, why in told.silent.items():
        yield f"monitor {url}: {why}"


def _name(figures: Figures) -> str:
    return "catalog" if figures.alias == CATALOG else figures.alias


def _verdict(seen: Look, told: Alerts, troubles: list[str]) -> tuple[str, str]:
    """good, watch or bad; and in a sentence why."""
    answering = sum(figures.error is None for figures in seen.shards)
    shards = f"{answering} of {len(seen.shards)} shards answer"
    if told.found:
        says = f"{told.firing} firing, {told.pending} pending. {shards}."
        whose = "Alerts" if told.is_known else "Alerts, as a monitor last said"
        return "bad" if told.firing or troubles else "watch", f"{whose}: {says}"
    if troubles:
        away = answering < len(seen.shards) or seen.catalog.error is not None
        return "bad" if away else "watch", f"Not all is well. {shards}."
    if not told.monitors:
        return "good", f"{shards}, and so does the catalog. No monitor watches over them."
    return "good", f"All is well. {shards}, and nothing fires."


def _sum(numbers: Any) -> Any:
    """None where nothing is known; else what is known, together."""
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None


def _no_answer() -> Alerts:
    return last_heard({monitor["url"]: "no answer" for monitor in monitors()})


def _count_accounts() -> dict[str, Any]:
    picture = slot_picture()
    if picture is None:
        return {}
    return {
        "total": picture.accounts,
        "slots": {each.shard: each.slots for each in picture.shards},
        "by_shard": {each.shard: each.accounts for each in picture.shards},
    }


_accounts = Kept("accounts", ACCOUNTS_SECONDS, _count_accounts)

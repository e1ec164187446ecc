"""What Prometheus warns of, worst first: GET /api/v1/alerts of every monitor."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.utils.dateparse import parse_datetime

from console.monitors import Monitor, MonitorSilent, ask, ask_each

__all__ = ["Alert", "Alerts", "alerts"]

SEVERITIES = ("page", "warn")
"""Worst first: infra/templates/prometheus_rules.yml.j2 says what they mean."""

CHAPTER = re.compile(r"ansible/RUNBOOKS\.md#([a-z0-9-]+)")
PLACES = ("shard", "database", "host", "instance", "job")


@dataclass(frozen=True)
class Alert:
    """One alert. `where`: pairs of a label and its value; `chapter`: of the runbooks, or ""."""

    name: str
    firing: bool
    severity: str
    since: datetime | None
    summary: str
    where: tuple[tuple[str, str], ...]
    runbook: str
    labels: frozenset[tuple[str, str]]

    @property
    def chapter(self) -> str:
        found = CHAPTER.fullmatch(self.runbook)
        return found[1] if found else ""

    @property
    def rank(self) -> tuple[bool, int, str, str]:
        known = self.severity in SEVERITIES
        severity = SEVERITIES.index(self.severity) if known else len(SEVERITIES)
        since = self.since.isoformat() if self.since else ""
        return (not self.firing, severity, since, self.name)


@dataclass(frozen=True)
class Alerts:
    """All alerts, worst first; `silent`: URL → why that monitor says nothing."""

    found: list[Alert]
    monitors: int
    silent: dict[str, str]

    @property
    def firing(self) -> int:
        return sum(alert.firing for alert in self.found)

    @property
    def pending(self) -> int:
        return len(self.found) - self.firing

    @property
    def is_known(self) -> bool:
        """Whether anybody answered."""
        return len(self.silent) < self.monitors


def alerts() -> Alerts:
    """What all monitors say. Several that say the same count once. Never raises."""
    answers = ask_each(_alerts_of)
    silent = {url: str(said) for url, said in answers.items() if isinstance(said, MonitorSilent)}
    said = [alert for found in answers.values() if isinstance(found, list) for alert in found]
    return Alerts(sorted(_merged(said), key=lambda alert: alert.rank), len(answers), silent)


def _alerts_of(monitor: Monitor) -> list[Alert]:
    data = ask(monitor, "/api/v1/alerts")
    try:
        return [_alert(raw) for raw in data["alerts"] if raw["state"] in ("firing", "pending")]
    except (LookupError, TypeError, AttributeError, ValueError):
        raise MonitorSilent("answers with something that is no list of alerts") from None


def _alert(raw: Mapping[str, Any]) -> Alert:
    labels = {str(key): str(value) for key, value in raw["labels"].items()}
    notes = raw.get("annotations") or {}
    return Alert(
        name=labels["alertname"],
        firing=raw["state"] == "firing",
        severity=labels.get("severity", ""),
        since=_moment(str(raw.get("activeAt", ""))),
        summary=str(notes.get("summary", "")),
        where=tuple(_where(labels)),
        runbook=str(notes.get("runbook", "")),
        labels=frozenset(labels.items()),
    )


def _moment(text: str) -> datetime | None:
    moment = parse_datetime(text)
    return moment if moment and moment.tzinfo else None


def _where(labels: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name in PLACES:
        if labels.get(name):
            yield name, labels[name]


def _merged(said: Iterable[Alert]) -> Iterable[Alert]:
    """One alert for each set of labels: firing if it is for one monitor, since the earliest."""
    found: dict[frozenset[tuple[str, str]], Alert] = {}
    for alert in said:
        former = found.setdefault(alert.labels, alert)
        times = [moment for moment in (former.since, alert.since) if moment is not None]
        found[alert.labels] = replace(
            former, firing=former.firing or alert.firing, since=min(times, default=None)
        )
    return found.values()

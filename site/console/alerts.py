"""What Prometheus warns of, worst first: GET /api/v1/alerts of every monitor."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

from django.core.cache import cache
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from console.monitors import Monitor, MonitorSilent, ask, ask_each

__all__ = ["Alert", "Alerts", "alerts", "last_heard"]

SEVERITIES = ("page", "warn")
"""Worst first: infra/templates/prometheus_rules.yml.j2 says what they mean."""

CHAPTER = re.compile(r"ansible/RUNBOOKS\.md#([a-z0-9-]+)")
PLACES = ("shard", "database", "host", "instance", "job")
LAST_SECONDS = 900  # so long the last answer is worth showing while no monitor answers


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


LAST = f"console:alerts:{','.join(each.name for each in fields(Alert))}"
"""Where the last answer is, for all processes. A release with another Alert has another place."""


@dataclass(frozen=True)
class Alerts:
    """All alerts, worst first; `silent`: URL → why that monitor says nothing.

    `heard_at`: when a monitor said this, where none answers now; None where none has lately.
    """

    found: list[Alert]
    monitors: int
    silent: dict[str, str]
    heard_at: datetime | None = None

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
    """What all monitors say, or said last. Several that say the same count once. Never raises."""
    answers = ask_each(_alerts_of)
    silent = {url: str(said) for url, said in answers.items() if isinstance(said, MonitorSilent)}
    if not answers:
        return Alerts([], 0, {})
    if len(silent) == len(answers):
        return last_heard(silent)
    said = [alert for found in answers.values() if isinstance(found, list) for alert in found]
    found = sorted(_merged(said), key=lambda alert: alert.rank)
    cache.set(LAST, (timezone.now(), found), LAST_SECONDS)
    return Alerts(found, len(answers), silent)


def last_heard(silent: dict[str, str]) -> Alerts:
    """While all monitors are silent: one late answer takes no alert from before the operator."""
    heard_at, found = cache.get(LAST) or (None, [])
    return Alerts(found, len(silent), silent, heard_at)


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

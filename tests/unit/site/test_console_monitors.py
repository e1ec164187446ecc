"""What the console makes of Prometheus: its alerts and its history, and a Prometheus at fault."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache

from console import history, monitors
from console.alerts import alerts, last_heard
from console.history import CHARTS, HOUR, line
from tests.unit.site.console_prometheus import (
    PATIENCE_SECONDS,
    Prometheus,
    alert,
    certificates,
    served,
)

FAULTS = {
    "slow": "no answer within",
    "garbage": "no list of alerts",
    "html": "not Prometheus'",
    "empty": "answers 204",
    "error": "answers 503: no TSDB",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def first(folder: Path) -> Iterator[Prometheus]:
    with served(folder) as prometheus:
        yield prometheus


@pytest.fixture
def second(folder: Path) -> Iterator[Prometheus]:
    with served(folder) as prometheus:
        yield prometheus


@pytest.fixture(autouse=True)
def known(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Says which monitors the site knows of."""
    monkeypatch.setattr(monitors, "SECONDS", PATIENCE_SECONDS)
    cache.clear()
    history._kept.forget()
    yield lambda *them: setattr(
        settings, "CLUSTER", {**settings.CLUSTER, "monitors": [each.monitor for each in them]}
    )
    cache.clear()
    history._kept.forget()


def test_the_worst_come_first(first: Prometheus, known: Any) -> None:
    first.alerts = [
        alert("Soon", "page", "pending"),
        alert("Later", "warn"),
        alert("Newer", since="2026-11-23T18:00:00Z"),
        alert("Odd", "odd"),
        alert("Older", since="2026-11-22T18:00:00+02:00"),
        alert("Over", state="inactive"),
    ]
    known(first)
    said = alerts()
    assert [each.name for each in said.found] == ["Older", "Newer", "Later", "Odd", "Soon"]
    assert (said.firing, said.pending, said.is_known) == (4, 1, True)


def test_an_alert_says_where_since_when_and_what_to_do(first: Prometheus, known: Any) -> None:
    labels = {"host": "node3", "shard": "shard02", "process": "1"}
    first.alerts = [alert("ReplicaLags", "warn", labels=labels, summary="is behind")]
    known(first)
    (one,) = alerts().found
    assert one.where == (("shard", "shard02"), ("host", "node3"))
    assert one.since is not None
    assert one.since.isoformat() == "2026-11-23T17:04:05.123456+00:00"
    assert (one.summary, one.chapter) == ("is behind", "shard-down")


@pytest.mark.parametrize("runbook", ["javascript:alert(1)", "https://elsewhere/#x", "", "x.md#y"])
def test_only_our_runbooks_become_links(first: Prometheus, known: Any, runbook: str) -> None:
    first.alerts = [alert("Strange", runbook=runbook)]
    known(first)
    assert alerts().found[0].chapter == ""


def test_two_monitors_say_it_once(first: Prometheus, second: Prometheus, known: Any) -> None:
    first.alerts = [alert("Down", state="pending", since="2026-11-23T18:00:30Z")]
    second.alerts = [alert("Down", since="2026-11-23T18:00:15Z"), alert("Down", "warn")]
    known(first, second)
    found = alerts().found
    assert [(each.severity, each.firing) for each in found] == [("page", True), ("warn", True)]
    assert found[0].since is not None
    assert found[0].since.second == 15


@pytest.mark.parametrize("fault", FAULTS)
def test_a_monitor_at_fault_hides_nothing_of_the_other(
    first: Prometheus,
    second: Prometheus,
    known: Any,
    fault: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if fault == "slow":
        monkeypatch.setattr(monitors, "SECONDS", 6.0)  # enough for the other
    first.fault, second.alerts = fault, [alert("Down")]
    known(first, second)
    said = alerts()
    assert [each.name for each in said.found] == ["Down"]
    assert list(said.silent) == [first.url]
    assert FAULTS[fault] in said.silent[first.url]
    assert said.is_known


def test_a_monitor_that_is_away(first: Prometheus, folder: Path, known: Any) -> None:
    with served(folder) as gone:
        pass
    known(gone)
    said = alerts()
    assert said.silent[gone.url].startswith("away: ")
    assert not said.is_known


def test_what_was_said_last_stays_while_nobody_answers(
    first: Prometheus, second: Prometheus, known: Any
) -> None:
    first.alerts = [alert("Down")]
    known(first, second)
    said = alerts()
    assert said.heard_at is None
    first.fault = second.fault = "error"
    after = alerts()
    assert (after.found, after.is_known, len(after.silent)) == (said.found, False, 2)
    assert after.heard_at is not None
    assert alerts().heard_at == after.heard_at, "when it was said, not when nobody answered"
    assert last_heard({first.url: "no answer"}).found == said.found
    first.fault, first.alerts = "", []
    assert (alerts().found, alerts().heard_at) == ([], None)


def test_another_password_is_named_with_the_cure(first: Prometheus, known: Any) -> None:
    first.password = "rotated"
    known(first)
    assert "ansible/site.yml" in alerts().silent[first.url]


def test_a_certificate_of_another_authority_is_refused(
    first: Prometheus, known: Any, tmp_path: Path
) -> None:
    first.ca = str(certificates(tmp_path) / "ca.crt")
    known(first)
    assert "certificate is not of this cluster" in alerts().silent[first.url]
    assert first.asked == []


def test_without_a_certificate_authority_on_disk_nothing_is_sent(
    first: Prometheus, known: Any
) -> None:
    first.ca = "/nowhere/ca.crt"
    known(first)
    assert alerts().silent[first.url].startswith("away: ")
    assert first.asked == []


def test_nobody_watches(known: Any) -> None:
    known()
    said = alerts()
    assert (said.found, said.monitors, said.silent) == ([], 0, {})
    assert history.history() is None


def test_the_last_hour_by_database(first: Prometheus, known: Any) -> None:
    first.series = lambda query: (
        [{"database": "shard01"}, {"database": "default"}] if "by (database)" in query else [{}]
    )
    first.values = lambda second: str(second / 60)
    known(first)
    hour = history.history()
    assert hour is not None
    assert set(hour["by_database"]) == {"shard01", "default"}
    assert hour["queries"][""][0] == (0, 0)
    assert hour["queries"][""][-1] == (HOUR, 60)
    assert set(hour) == {chart.name for chart in CHARTS}


def test_the_history_of_the_monitor_that_tells(
    first: Prometheus, second: Prometheus, known: Any
) -> None:
    first.fault = "error"
    known(first, second)
    hour = history.history()
    assert hour is not None
    assert hour["queries"][""]
    assert len(second.asked) == len(CHARTS)
    history.history()
    assert len(second.asked) == len(CHARTS), "it is kept"


def test_no_history_where_nobody_tells(first: Prometheus, known: Any) -> None:
    first.fault = "html"
    known(first)
    assert history.history() is None


def test_what_is_no_number_is_a_gap(first: Prometheus, known: Any) -> None:
    first.values = lambda second: "NaN" if 600 <= second < 1200 else "+Inf" if second == 0 else "2"
    known(first)
    hour = history.history()
    assert hour is not None
    drawn = line(CHARTS[0], hour["queries"][""])
    assert drawn is not None
    assert len(drawn.paths) == 2
    assert (drawn.now, drawn.low, drawn.high) == ("2.00", "2.00", "2.00")
    assert "nan" not in json.dumps(drawn.paths)


def test_nothing_but_zeros_is_a_line_on_the_ground() -> None:
    drawn = line(CHARTS[0], [(0, 0.0), (60, 0.0)])
    assert drawn is not None
    assert drawn.paths == ["M0.0 26.0L2.0 26.0"]
    assert line(CHARTS[0], []) is None

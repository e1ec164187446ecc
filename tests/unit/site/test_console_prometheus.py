"""The console and a real Prometheus: its TLS, its login, its alerts, an hour of figures."""

import runpy
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache

from console import history, monitors
from console.alerts import alerts
from console.history import CHARTS, HOUR
from tests.unit.site.console_prometheus import PASSWORD, PATIENCE_SECONDS, USER, certificates
from tests.variants import CHECKOUT

pytestmark = pytest.mark.skipif(
    not (shutil.which("prometheus") and shutil.which("promtool")),
    reason="Debian's package prometheus is not installed",
)
ROLE = CHECKOUT / "ansible" / "roles" / "monitoring" / "files"
START_SECONDS = 120
PORTS = range(31_300, 31_400)
STEP = 15
RULES = """
groups:
  - name: test
    interval: 1s
    rules:
      - alert: Fires
        expr: vector(1)
        labels: { severity: page, shard: shard01 }
        annotations: { summary: "it is {{ $value }}", runbook: ansible/RUNBOOKS.md#shard-down }
      - alert: WillFire
        expr: vector(1)
        for: 1h
        labels: { severity: warn }
      - alert: IsQuiet
        expr: vector(1) > 2
"""
CONFIG = "global: { evaluation_interval: 1s }\nrule_files: [rules.yml]\n"
FIGURES = (
    ('routers_query_seconds_count{{database="{database}"}}', 40.0),
    ('routers_query_seconds_sum{{database="{database}"}}', 0.2),
    ('routers_query_errors_total{{database="{database}",error="X"}}', 0.0),
    ('pgbouncer_pools_client_maxwait_seconds{{database="{database}"}}', 0.0),
    ('redis_keyspace_hits_total{{purpose="cache",instance="{database}"}}', 9.0),
    ('redis_keyspace_misses_total{{purpose="cache",instance="{database}"}}', 1.0),
    ('node_cpu_seconds_total{{host="{database}",cpu="0",mode="idle"}}', 0.75),
)
DATABASES = ("default", "shard01")


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A Prometheus with an hour of figures and three rules; how the site would ask it."""
    folder = certificates(tmp_path_factory.mktemp("prometheus"))
    (folder / "rules.yml").write_text(RULES)
    (folder / "prometheus.yml").write_text(CONFIG)
    hashed = runpy.run_path(str(ROLE / "fulcrum_web.py"))["bcrypt"](PASSWORD.encode())
    (folder / "web.yml").write_text(
        "tls_server_config: { cert_file: host.pem, key_file: host.pem }\n"
        f"basic_auth_users: {{ {USER}: {hashed} }}\n"
    )
    (folder / "figures.txt").write_text("".join(figures()))
    backfill = ("tsdb", "create-blocks-from", "openmetrics", "figures.txt", "data")
    subprocess.run(["promtool", *backfill], cwd=folder, check=True, capture_output=True)
    port = free_port()
    command = ["prometheus", "--config.file=prometheus.yml", "--web.config.file=web.yml"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--storage.tsdb.path=data"]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:
        url, ca = f"https://127.0.0.1:{port}", str(folder / "ca.crt")
        monitor = {"url": url, "ca": ca, "user": USER, "password": PASSWORD}
        wait_for_rules(monitor, server, folder / "log")
        yield monitor
    finally:
        server.terminate()
        server.wait(timeout=60)


@pytest.fixture(autouse=True)
def known(
    prometheus: dict[str, str], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    monkeypatch.setattr(monitors, "SECONDS", PATIENCE_SECONDS)
    cache.clear()
    settings.CLUSTER = {**settings.CLUSTER, "monitors": [prometheus]}
    history._kept.forget()
    yield
    cache.clear()
    history._kept.forget()


def figures() -> Iterator[str]:
    """OpenMetrics: each figure every STEP seconds for longer than an hour, growing evenly."""
    end = int(time.time())
    for name, per_second in FIGURES:
        for database in DATABASES:
            for moment in range(end - HOUR - 600, end, STEP):
                value = per_second * (moment - end + HOUR + 600)
                yield f"{name.format(database=database)} {value} {moment}\n"
    yield "# EOF\n"


def free_port() -> int:
    """Not one of those that the kernel gives to anybody, and would before Prometheus has it."""
    for port in PORTS:
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise OSError(f"no port of {PORTS} is free")


def wait_for_rules(monitor: dict[str, str], server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        try:
            if len(monitors.ask(monitor, "/api/v1/alerts")["alerts"]) == 2:
                return
        except monitors.MonitorSilent:
            pass
        time.sleep(0.1)
    pytest.fail(f"Prometheus does not answer:\n{log.read_text()}")


def test_its_alerts() -> None:
    said = alerts()
    assert said.silent == {}
    assert [(each.name, each.severity, each.firing) for each in said.found] == [
        ("Fires", "page", True),
        ("WillFire", "warn", False),
    ]
    fires = said.found[0]
    assert (fires.summary, fires.chapter) == ("it is 1", "shard-down")
    assert fires.where == (("shard", "shard01"),)
    assert fires.since is not None


def test_its_hour() -> None:
    hour = history.history()
    assert hour is not None
    newest = {chart.name: hour[chart.name].get("", [(0, None)])[-5][1] for chart in CHARTS[:-1]}
    assert newest == pytest.approx(
        {"queries": 80, "milliseconds": 5, "errors": 0, "waits": 0, "hits": 90, "busy": 25}
    )
    assert set(hour["by_database"]) == set(DATABASES)
    assert hour["by_database"]["shard01"][-5][1] == pytest.approx(40)
    assert len(hour["queries"][""]) > 50


def test_another_password(prometheus: dict[str, str], settings: Any) -> None:
    wrong = {**prometheus, "password": "another"}
    settings.CLUSTER = {**settings.CLUSTER, "monitors": [wrong]}
    assert "refuses the site's login (401)" in alerts().silent[prometheus["url"]]

"""What is counted, in one process and over several."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, connection, connections
from django.db.backends.signals import connection_created

from routers.health import metrics
from routers.shard_map import watch
from tests.unit.conftest import CONFIG


def timers(one: Any) -> list[Any]:
    """The connection's wrappers that count."""
    return [w for w in one.execute_wrappers if isinstance(w, metrics._Timer)]


@pytest.fixture
def counted() -> Iterator[None]:
    """Metrics for this test alone."""
    metrics.start()
    yield
    connection_created.disconnect(dispatch_uid="routers.metrics")
    for each in connections.all():
        each.execute_wrappers[:] = [w for w in each.execute_wrappers if w not in timers(each)]


def sample(text: str, name: str, **labels: str) -> float:
    """A sample's value in Prometheus' text; 0 where it is missing."""
    wanted = "".join(rf'(?=[^}}]*\b{key}="{value}")' for key, value in labels.items())
    found = re.search(rf"^{name}(?:\{{{wanted}[^}}]*\}})? (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


@pytest.mark.django_db(databases="__all__")
def test_queries_and_errors_are_counted_by_database(counted: None) -> None:
    for alias in ("default", "shard01"):
        metrics._observe(None, connections[alias])
        metrics._observe(None, connections[alias])
    before = metrics.generate_latest(metrics.registry).decode()
    with connections["shard01"].cursor() as cursor:
        for _ in range(3):
            cursor.execute("SELECT 1")
        with pytest.raises(DatabaseError):
            cursor.execute("SELECT no such thing")
    after = metrics.generate_latest(metrics.registry).decode()

    def grown(name: str, **labels: str) -> float:
        return sample(after, name, **labels) - sample(before, name, **labels)

    assert grown("routers_query_seconds_count", database="shard01") == 4
    assert grown("routers_query_seconds_count", database="default") == 0
    assert grown("routers_query_errors_total", database="shard01") == 1
    assert len(timers(connections["shard01"])) == 1


@pytest.mark.django_db(databases="__all__")
def test_a_new_connection_is_counted(counted: None) -> None:
    connection_created.send(type(connection), connection=connection)
    assert len(timers(connection)) == 1


def test_the_watcher_tells_the_map(monkeypatch: pytest.MonkeyPatch, counted: None) -> None:
    from routers import ShardMap
    from routers.shard_map import use_map

    use_map(ShardMap(ShardMap.even(["shard01"]).slots, {}, 12))
    watch._tell()
    text = metrics.generate_latest(metrics.registry).decode()
    assert sample(text, "routers_map_version") == 12
    assert sample(text, "routers_map_age_seconds") > 0


def test_the_answer_has_shards_and_pools(
    django_db_setup: None, django_db_blocker: Any, settings: Any
) -> None:
    consoles = ["host=127.0.0.1 port=1 dbname=pgbouncer user=monitor"]
    settings.SHARDING = {**settings.SHARDING, "POOLER_CONSOLES": consoles}
    with django_db_blocker.unblock():
        text = metrics.expose().decode()
    assert sample(text, "routers_database_up", database="shard02") == 1
    assert sample(text, "routers_database_seconds", database="default") > 0
    assert 'routers_pooler_up{pooler="127.0.0.1:1"} 0.0' in text


WORK = """
import os, sys, django
django.setup()
from routers.health import metrics
for _ in range(int(sys.argv[1])):
    metrics.QUERY_SECONDS.labels("shard01").observe(0.003)
metrics.QUERY_ERRORS.labels("shard01", "OperationalError").inc()
metrics._note_map(int(sys.argv[2]), 5)
"""
ASK = """
import os, django
django.setup()
from pathlib import Path
from routers.health import metrics, pools, readiness
class Empty:
    def families(self): return []
readiness.report = Empty
metrics._note_map(9, 1)
print(metrics.expose().decode())
"""


def run(directory: Path, code: str, *arguments: str) -> str:
    """A process of its own that counts into the directory."""
    environment = {
        **os.environ,
        "PROMETHEUS_MULTIPROC_DIR": str(directory),
        "DJANGO_SETTINGS_MODULE": "tests.unit.routers.settings",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
    return done.stdout.decode()


def test_processes_count_together_and_the_ended_leave_their_counts(tmp_path: Path) -> None:
    run(tmp_path, WORK, "3", "7")
    run(tmp_path, WORK, "4", "8")
    for _ in range(2):  # folding twice counts nothing twice
        text = run(tmp_path, ASK)
        assert sample(text, "routers_query_seconds_count", database="shard01") == 7
        assert sample(text, "routers_query_seconds_sum", database="shard01") == pytest.approx(0.021)
        assert sample(text, "routers_query_seconds_bucket", database="shard01", le="0.005") == 7
        assert sample(text, "routers_query_seconds_bucket", database="shard01", le="0.002") == 0
        assert sample(text, "routers_query_errors_total", database="shard01") == 2
        assert sample(text, "routers_map_version") == 9, "an ended process's map is of no interest"
    run(tmp_path, WORK, "5", "8")
    text = run(tmp_path, ASK)
    assert sample(text, "routers_query_seconds_count", database="shard01") == 12
    kept = {path.name for path in tmp_path.glob("*.db")}
    assert {"counter_ended.db", "histogram_ended.db"} <= kept
    assert len([name for name in kept if name.startswith("histogram")]) <= 2


@pytest.mark.skipif(not CONFIG, reason="needs PgBouncer")
def test_waits_at_a_real_pooler(settings: Any) -> None:
    import json

    config = Path(str(CONFIG))
    at = json.loads(config.read_text())["databases"]["shard01"]
    secret = json.loads(config.with_name("secrets.json").read_text())["pooler_monitor"]
    where = f"host={at['host']} port={at['port']} dbname=pgbouncer"
    consoles = [f"{where} user=fulcrum_monitor password={secret}"]
    settings.SHARDING = {**settings.SHARDING, "POOLER_CONSOLES": consoles}
    from routers.health.pools import pools

    up, waiting, longest = pools()
    assert [s.value for s in up.samples] == [1.0]
    databases = {s.labels["database"] for s in waiting.samples}
    assert databases == {s.labels["database"] for s in longest.samples}
    assert "pgbouncer" not in databases

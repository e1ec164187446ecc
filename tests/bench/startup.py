"""What a unit test waits for: making the test databases, on SQLite in memory and on PostgreSQL.

On PostgreSQL the catalog and four shards are created and migrated on a server each, as Django's
test runner does it: with fsync on (the bench cluster) and off (the test cluster).
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.table import Table

from tests.bench.cluster import BENCH
from tests.variants import CHECKOUT, PYTHONPATH, TEST, Variant

__all__ = ["bench_startup", "startup_table"]

PROGRAM = """
import time
began = time.perf_counter()
import django
django.setup()
from django.test.utils import setup_databases, teardown_databases
made = setup_databases(verbosity=0, interactive=False, serialized_aliases=[])
print(time.perf_counter() - began)
teardown_databases(made, verbosity=0)
"""


def bench_startup(rounds: int, without_fsync: Variant) -> dict[str, list[float]]:
    """Seconds by engine, `rounds` times each, in turn."""
    with tempfile.TemporaryDirectory() as folder:
        engines = {
            "SQLite in memory": None,
            "PostgreSQL, fsync off": _as_superuser(without_fsync, Path(folder)),
            "PostgreSQL, fsync on": _as_superuser(BENCH, Path(folder)),
        }
        seconds: dict[str, list[float]] = {name: [] for name in engines}
        for _ in range(rounds):
            for name, config in engines.items():
                seconds[name].append(_once(config))
    return seconds


def _as_superuser(variant: Variant, folder: Path) -> Path:
    """The owner's configuration, with the role that may create databases."""
    config = json.loads((variant.root / "site-owner.json").read_text())
    secrets = json.loads((variant.root / "secrets.json").read_text())
    for database in config["databases"].values():
        database.update(user="postgres", password=secrets["superuser"])
    path = folder / f"{variant.name}.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps(config))
    return path


def _once(config: Path | None) -> float:
    environment = {name: value for name, value in os.environ.items() if name != "FULCRUM_CONFIG"}
    environment["DJANGO_SETTINGS_MODULE"] = "tests.unit.site.settings"
    environment["PYTHONPATH"] = PYTHONPATH
    if config:
        environment["FULCRUM_CONFIG"] = str(config)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, check=True, stdout=subprocess.PIPE
    )
    return float(done.stdout)


def startup_table() -> Table:
    """How long an engine takes to make the test databases."""
    up = [sys.executable, "-m", "infra", *TEST.options(), "up", "--only", "servers"]
    subprocess.run(up, cwd=CHECKOUT, check=True)
    seconds = bench_startup(7, TEST)
    table = Table("test databases made on", "median s", "ratio", title="start of the unit tests")
    base = statistics.median(next(iter(seconds.values())))
    for engine, values in seconds.items():
        median = statistics.median(values)
        table.add_row(engine, f"{median:.2f}", f"{median / base:.1f}")
    return table

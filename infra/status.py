"""What runs, whether it answers, and what the shards hold."""

__all__ = ["Row", "collect", "show"]

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import rich.table

from infra.console import Console
from infra.credentials import Credentials, load
from infra.layout import CHECKOUT, Layout
from infra.programs import Binaries, Program, command, programs, site_environment
from infra.replicas import lag
from infra.schema import Description
from infra.servers import health
from infra.supervise import Process, Supervisor, basic_environment, strays

STATUS_SECONDS = 30
FACTS = ("accounts", "rows", "size_bytes", "replica_of", "lag_bytes", "lag_seconds")


@dataclass(frozen=True)
class Row:
    """One process. `accounts`, `rows` and `size_bytes` are a shard's, None where unknown.

    The lag is a replica's: the WAL that it has not replayed, and the age of what it has.
    """

    name: str
    state: str
    pid: int | None
    port: int | None
    healthy: bool
    health: str
    uptime_seconds: int
    accounts: int | None = None
    rows: int | None = None
    size_bytes: int | None = None
    replica_of: str | None = None
    lag_bytes: int | None = None
    lag_seconds: float | None = None


def collect(d: Description, layout: Layout) -> list[Row]:
    """A row for each process that should run. All are asked at the same time."""
    processes = Supervisor(layout).processes()
    engine = "sqlite" if processes and "default" not in processes else "postgresql"
    wanted = programs(d, layout, engine, Binaries())
    if not layout.secrets.exists():
        return [_row(program, None, "never started", {}) for program in wanted]
    credentials = load(layout.secrets)
    orphaned = not processes and strays(layout)
    note = "orphaned: `make up`" if orphaned else "not running"
    with ThreadPoolExecutor(max_workers=len(wanted) + 1) as pool:
        shards = pool.submit(_shards, d, layout, engine, processes)
        answers = list(
            pool.map(lambda p: _ask(p, processes.get(p.name), d, credentials, note), wanted)
        )
        lags = list(pool.map(lambda p: _lag(p, d, credentials), wanted))
        facts = shards.result()
    rows = [
        _row(program, processes.get(program.name), answer, facts.pop(program.name, {}) | lag)
        for program, answer, lag in zip(wanted, answers, lags, strict=True)
    ]
    return rows + [_file_row(name, entry) for name, entry in facts.items()]


def _ask(
    program: Program,
    process: Process | None,
    d: Description,
    credentials: Credentials,
    note: str,
) -> str:
    if not process or process.state != "RUNNING":
        return (process and process.error) or note
    return health(program, d, credentials)


def _lag(program: Program, d: Description, credentials: Credentials) -> dict[str, Any]:
    """A replica's part of its row; empty for others."""
    if program.name not in d.replicas:
        return {}
    found = lag(d, credentials, program.name)
    numbers = {"lag_bytes": found.bytes, "lag_seconds": found.seconds} if found else {}
    return {"replica_of": d.replicas[program.name], **numbers}


def _row(program: Program, process: Process | None, trouble: str, facts: dict[str, Any]) -> Row:
    return Row(
        name=program.name,
        state=process.state.lower() if process else "stopped",
        pid=process.pid or None if process else None,
        port=program.port or None,
        healthy=not trouble,
        health=trouble or "ok",
        uptime_seconds=process.uptime if process else 0,
        **{key: facts.get(key) for key in FACTS},
    )


def _file_row(name: str, facts: dict[str, Any]) -> Row:
    """A shard without a process: an SQLite file."""
    error = facts.get("error")
    numbers = {key: facts.get(key) for key in FACTS}
    return Row(name, "file", None, None, not error, error or "ok", 0, **numbers)


def _shards(
    d: Description, layout: Layout, engine: str, processes: dict[str, Process]
) -> dict[str, dict[str, Any]]:
    """Shard → accounts, rows, size_bytes, by the site's own command; empty where it fails."""
    if not processes:
        return {}
    try:
        done = subprocess.run(  # noqa: S603 - a command of the description
            command(d, layout, d.site.status),
            capture_output=True,
            timeout=STATUS_SECONDS,
            check=True,
            env=basic_environment(layout) | site_environment(d, layout, "app"),
            cwd=CHECKOUT / d.site.directory,
        )
        return {entry["shard"]: entry for entry in json.loads(done.stdout)}
    except (OSError, subprocess.SubprocessError, ValueError, LookupError, TypeError):
        return {}


def show(console: Console, d: Description, rows: list[Row], *, as_json: bool) -> int:
    """Print a table or JSON. Returns the exit status: 0 if all is well."""
    if as_json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
        return int(not all(row.healthy for row in rows))
    table = rich.table.Table(box=None, pad_edge=False, header_style="bold")
    for title in ("process", "state", "pid", "port", "uptime", "accounts", "rows", "size"):
        table.add_column(title, justify="left" if title in ("process", "state") else "right")
    table.add_column("health")
    shards = {shard.name for shard in d.shards}
    for row in rows:
        color = "green" if row.healthy else "red"
        table.add_row(
            *_cells(row, row.name in shards), f"[{color}]{row.health}[/{color}]{_behind(row)}"
        )
    console.out.print(table, soft_wrap=False)
    return int(not all(row.healthy for row in rows))


def _cells(row: Row, is_shard: bool) -> list[str]:
    unknown = "?" if is_shard else ""
    numbers = [row.accounts, row.rows]
    return [
        row.name,
        row.state,
        str(row.pid or ""),
        str(row.port or ""),
        _duration(row.uptime_seconds) if row.pid else "",
        *(unknown if number is None else f"{number:,}" for number in numbers),
        unknown if row.size_bytes is None else f"{row.size_bytes / 2**20:,.1f} MiB",
    ]


def _behind(row: Row) -> str:
    """A replica's lag for a person."""
    if row.lag_bytes is None:
        return ""
    age = f", {_duration(round(row.lag_seconds))} old" if row.lag_seconds else ""
    amount = f"{row.lag_bytes / 2**20:,.1f} MiB" if row.lag_bytes else "0 bytes"
    return f", {amount} behind {row.replica_of}{age}"


def _duration(seconds: int) -> str:
    """Seconds for a person: 42 s, 12 min, 3.5 h, 2.0 d."""
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 7200:
        return f"{seconds // 60} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} d"

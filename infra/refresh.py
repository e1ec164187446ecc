"""Makes running servers read changed files: by reload, by restart if need be."""

__all__ = ["refresh"]

import contextlib
import shlex
from pathlib import Path

import psutil
import psycopg2
import redis

from infra.credentials import Credentials
from infra.layout import Layout
from infra.logins import ask, pooler_login
from infra.programs import Program
from infra.replicas import keep_limits
from infra.schema import Description
from infra.supervise import Supervisor

POOLER_RESTART = ("listen_addr", "listen_port", "unix_socket_dir")


def refresh(
    program: Program,
    d: Description,
    layout: Layout,
    credentials: Credentials,
    supervisor: Supervisor,
) -> str:
    """Bring a running program to its present configuration. Returns "", "reload" or "restart".

    A stamp says when a program last read its files, so that an `up` killed in between is made
    good by the next.
    """
    process = supervisor.processes()[program.name]
    stamp = layout.run / f"{program.name}.loaded"
    if process.state != "RUNNING" or not _stale(process.pid, _inputs(program, layout), stamp):
        return ""
    reloaded = _reload(program, d, layout, credentials, supervisor)
    if not reloaded:
        supervisor.stop([program.name])
        if program.name in d.replicas:
            keep_limits(layout, program)
        supervisor.start(program.name)
    stamp.touch()
    return "reload" if reloaded else "restart"


def _inputs(program: Program, layout: Layout) -> list[Path]:
    """The files that a program reads when it starts."""
    if program.kind == "site":
        web = [layout.conf / "gunicorn.conf.py"] if program.name == "web" else []
        return [layout.site_config("app"), *web]
    folder = layout.conf / program.name
    return [path for path in folder.iterdir() if path.suffix in (".conf", ".ini", ".txt")]


def _stale(pid: int, inputs: list[Path], stamp: Path) -> bool:
    """Whether a file is newer than the process and than its last reload."""
    seen = 0.0
    with contextlib.suppress(psutil.Error):
        seen = psutil.Process(pid).create_time()
    with contextlib.suppress(FileNotFoundError):
        seen = max(seen, stamp.stat().st_mtime)
    return any(path.stat().st_mtime > seen for path in inputs)


def _reload(
    program: Program,
    d: Description,
    layout: Layout,
    credentials: Credentials,
    supervisor: Supervisor,
) -> bool:
    """Make the server read its files again. False where only a restart will do."""
    match program.kind:
        case "postgres":
            return _reload_postgres(program, d, credentials)
        case "pooler":
            return _reload_pooler(program, d, layout, credentials)
        case "redis":
            return _reload_redis(program, layout, credentials)
    return False


def _reload_postgres(program: Program, d: Description, credentials: Credentials) -> bool:
    # A changed port or password shows as a failed login: then only a restart helps.
    pending = "SELECT FROM pg_settings WHERE pending_restart"
    try:
        ask(d, credentials, program.name, "SELECT pg_reload_conf(), pg_sleep(0.3)")
        return not ask(d, credentials, program.name, pending)
    except psycopg2.Error:
        return False


def _reload_pooler(
    program: Program, d: Description, layout: Layout, credentials: Credentials
) -> bool:
    text = (layout.conf / program.name / "pgbouncer.ini").read_text()
    wanted = dict(
        [part.strip() for part in line.split("=", 1)] for line in text.splitlines() if "=" in line
    )
    try:
        connection = pooler_login(d, "pgbouncer", "fulcrum_admin", credentials.pooler_admin)
    except Exception:
        return False
    with contextlib.closing(connection):
        cursor = connection.cursor()
        cursor.execute("RELOAD")
        cursor.execute("SHOW CONFIG")
        running = {row[0]: row[1] or "" for row in cursor.fetchall()}
    return all(running.get(key, "") == wanted[key] for key in POOLER_RESTART)


def _reload_redis(program: Program, layout: Layout, credentials: Credentials) -> bool:
    """CONFIG SET what differs; a setting that Redis fixes at its start needs a restart."""
    text = (layout.conf / program.name / "redis.conf").read_text()
    lines = [shlex.split(line) for line in text.splitlines() if line and line[0] != "#"]
    password = getattr(credentials, program.name)
    try:
        with redis.Redis(
            host=program.host, port=program.port, password=password, decode_responses=True
        ) as client:
            for key, *value in lines:
                if client.config_get(key).get(key) != " ".join(value):
                    client.config_set(key, " ".join(value))
    except redis.RedisError:
        return False
    return True

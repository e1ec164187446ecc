"""PostgreSQL, PgBouncer and Redis by their own protocols: make, ask, log in, define roles."""

__all__ = ["define_roles", "health", "initdb", "wait_for_pool", "wait_until_healthy"]

import contextlib
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psutil
import psycopg2
import redis

from infra import replicas
from infra.console import tail
from infra.credentials import Credentials
from infra.errors import ClusterError
from infra.layout import Layout
from infra.logins import ask, pooler_login
from infra.programs import Binaries, Program
from infra.schema import Description
from infra.supervise import Process, Supervisor, basic_environment

START_SECONDS = 60
DYING_SECONDS = 6


def initdb(
    layout: Layout, binaries: Binaries, credentials: Credentials, alias: str, *, sync: bool
) -> None:
    """Make a data directory, in one step: a killed initdb leaves nothing that looks finished."""
    final = layout.data(alias)
    temporary = final.with_name(f".{alias}.new")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.parent.mkdir(exist_ok=True)
    pwfile = temporary.with_suffix(".pw")
    pwfile.unlink(missing_ok=True)
    with os.fdopen(os.open(pwfile, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(credentials.superuser)
    try:
        _run_initdb(layout, binaries, temporary, pwfile, sync)
    finally:
        pwfile.unlink(missing_ok=True)
    temporary.rename(final)


def _run_initdb(
    layout: Layout, binaries: Binaries, directory: Path, pwfile: Path, sync: bool
) -> None:
    argv = [binaries.tool("initdb"), "-D", str(directory), "-U", "postgres"]
    argv += ["--auth=scram-sha-256", f"--pwfile={pwfile}", "--data-checksums"]
    argv += ["--encoding=UTF8", "--locale=C.UTF-8", *([] if sync else ["--no-sync"])]
    done = subprocess.run(  # noqa: S603 - a server's own program
        argv, capture_output=True, text=True, check=False, env=basic_environment(layout)
    )
    if done.returncode:
        raise ClusterError(f"initdb of {directory.name} failed:\n{done.stdout}{done.stderr}")


def clear_stale_pid(layout: Layout, alias: str) -> None:
    """Forget a postmaster.pid whose process is no PostgreSQL: after a reboot, pids come again."""
    path = layout.data(alias) / "postmaster.pid"
    with contextlib.suppress(OSError, ValueError, IndexError):
        pid = int(path.read_text().split()[0])
        with contextlib.suppress(psutil.NoSuchProcess):
            if psutil.Process(pid).name().startswith("postgres"):
                return
        path.unlink()


def define_roles(
    d: Description,
    layout: Layout,
    binaries: Binaries,
    credentials: Credentials,
    alias: str,
    host: str = "",
) -> None:
    """Run conf/ALIAS/roles.sql as superuser, at `host` if given. Any number of times."""
    node = d.primaries[alias]
    argv = [binaries.tool("psql"), "-XAtq", "-h", host or node.host, "-p", str(node.port)]
    argv += ["-U", "postgres", "-d", "postgres", "-f", str(layout.conf / alias / "roles.sql")]
    environment = basic_environment(layout) | {"PGPASSWORD": credentials.superuser}
    done = subprocess.run(  # noqa: S603 - a server's own program
        argv, capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode:
        raise ClusterError(f"{alias}: the roles cannot be made:\n{done.stderr}")


def wait_for_pool(d: Description, credentials: Credentials, alias: str) -> None:
    """Log in as the application does, through the pooler, until it works. Raises ClusterError."""
    deadline = time.monotonic() + DYING_SECONDS
    while True:
        try:
            pooler_login(d, d.pooled(alias), "fulcrum_app", credentials.pooler_app).close()
            return
        except psycopg2.Error as error:
            if time.monotonic() > deadline:
                message = f"{alias} cannot be reached through the pooler: {error}"
                raise ClusterError(message) from None
            time.sleep(0.1)


def health(program: Program, d: Description, credentials: Credentials) -> str:
    """Really ask a server; "" where it is well, or what is wrong with it."""
    try:
        return CHECKS[program.kind](program, d, credentials)
    except (psycopg2.Error, redis.RedisError, OSError) as error:
        return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _ask_postgres(program: Program, d: Description, credentials: Credentials) -> str:
    if program.name in d.replicas:
        return replicas.trouble(d, credentials, program.name)
    ask(d, credentials, program.name, "SELECT 1")
    return ""


def _ask_pooler(program: Program, d: Description, credentials: Credentials) -> str:
    with contextlib.closing(
        pooler_login(d, "pgbouncer", "fulcrum_monitor", credentials.pooler_monitor)
    ) as connection:
        connection.cursor().execute("SHOW POOLS")
    return ""


def _ask_redis(program: Program, d: Description, credentials: Credentials) -> str:
    with redis.Redis(
        host=program.host,
        port=program.port,
        password=getattr(credentials, program.name),
        socket_timeout=5,
    ) as client:
        client.ping()
    return ""


def _ask_site(program: Program, d: Description, credentials: Credentials) -> str:
    """The web application answers HTTP; the worker and the beat have no port to be asked at."""
    if not program.port:
        return ""
    try:
        with urllib.request.urlopen(d.site.public_url, timeout=10):  # noqa: S310 - http(s) by schema
            return ""
    except urllib.error.HTTPError as error:
        return "" if error.code < 500 else f"HTTP {error.code}"


CHECKS: dict[str, Callable[[Program, Description, Credentials], str]] = {
    "postgres": _ask_postgres,
    "pooler": _ask_pooler,
    "redis": _ask_redis,
    "site": _ask_site,
}


def wait_until_healthy(
    program: Program, d: Description, credentials: Credentials, supervisor: Supervisor
) -> None:
    """Ask until the server answers. Raises ClusterError when it keeps dying, or after a minute.

    What does not come up is stopped.
    """
    deadline = time.monotonic() + START_SECONDS
    dying: float | None = None
    while trouble := _trouble(program, d, credentials, supervisor):
        now = time.monotonic()
        if _process(program, supervisor).state in ("BACKOFF", "FATAL", "EXITED"):
            dying = dying or now + DYING_SECONDS
        if now > (dying or deadline) or now > deadline or _hopeless(trouble):
            supervisor.stop([program.name])
            log = program.log_file
            raise ClusterError(
                f"{program.name} does not come up: {trouble}\nThe log is {log}; its last lines:\n"
                f"{tail(log)}"
            )
        time.sleep(0.05)


def _hopeless(trouble: str) -> bool:
    """Whether waiting cannot help."""
    return "authentication failed" in trouble or " rebuild " in trouble


def _trouble(
    program: Program, d: Description, credentials: Credentials, supervisor: Supervisor
) -> str:
    """What is wrong with a program, asking supervisord first: another may answer on its port."""
    process = _process(program, supervisor)
    if process.state != "RUNNING":
        return f"{process.state.lower()} {process.error}".strip()
    return health(program, d, credentials)


def _process(program: Program, supervisor: Supervisor) -> Process:
    """What supervisord says of a program that it must know."""
    process = supervisor.processes().get(program.name)
    if not process:
        log = supervisor.layout.log("supervisord")
        raise ClusterError(f"supervisord is gone; run the same command again. See {log}.")
    return process

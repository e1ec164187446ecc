#!/usr/bin/python3
"""The PgBouncer processes of this host, together. Run it as root, on a pooler.

Each process N has a file process-N.ini, a unit fulcrum-pooler@N and a console on a socket of its
own, where the user who runs PgBouncer needs no password. All of them share one port.
"""

import argparse
import csv
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CONFIG = Path("/etc/fulcrum/pooler")
RUN = Path("/run/fulcrum-pooler")
AS_USER = ("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--")
DRAIN_SECONDS = 330
"""Longer than the site keeps a connection (CONN_MAX_AGE), so that none is closed under it."""
STOP_SECONDS = 10


class PoolerError(Exception):
    """What was seen, and what to do."""


Row = dict[str, str]


def configured() -> list[int]:
    """The processes that the inventory gives to this host."""
    return sorted(int(path.stem.removeprefix("process-")) for path in CONFIG.glob("process-*.ini"))


def running() -> list[int]:
    """The processes whose console can be asked, also those that only wait for their clients."""
    return sorted(int(path.parent.name) for path in RUN.glob("*/.s.PGSQL.*") if path.is_socket())


def settings(text: str) -> dict[str, str]:
    """The `key = value` lines of a process's own file."""
    lines = (line.partition("=") for line in text.splitlines() if not line.startswith((";", "%")))
    return {key.strip(): value.strip() for key, equals, value in lines if equals}


def ask(process: int, command: str, seconds: float = 10) -> list[Row]:
    """What the console of a process answers. Raises PoolerError."""
    socket = next((RUN / str(process)).glob(".s.PGSQL.*[0-9]"), None)
    if socket is None:
        raise PoolerError(f"process {process} does not run: systemctl status fulcrum-pooler@*")
    psql = ["psql", "--no-psqlrc", "--csv", "--quiet", f"--host={socket.parent}"]
    psql += [f"--port={socket.suffix[1:]}", "--username=pgbouncer", "--dbname=pgbouncer"]
    try:
        done = subprocess.run(  # noqa: S603 - our own arguments
            [*AS_USER, *psql, f"--command={command}"],
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        late = f"process {process} did not end `{command}` within {seconds:g} s"
        raise PoolerError(late) from None
    if done.returncode:
        raise PoolerError(f"process {process}, `{command}`: {done.stderr.strip()}")
    return list(csv.DictReader(done.stdout.splitlines()))


def systemctl(*words: str) -> str:
    done = subprocess.run(  # noqa: S603 - our own arguments
        ["systemctl", *words],  # noqa: S607
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    return done.stdout.strip()


def apply() -> None:
    """Give every process that runs its settings: by a reload, or by a restart if only that helps.

    One by one: the others take new clients, and the one to be restarted waits for its own.
    """
    for process in sorted({*configured()} & {*running()}):
        wanted = settings((CONFIG / f"process-{process}.ini").read_text())
        fixed = {
            row["key"]: row["value"]
            for row in ask(process, "SHOW CONFIG")
            if row["changeable"] == "no"
        }
        different = sorted(key for key in wanted.keys() & fixed if fixed[key] != wanted[key])
        if different:
            print(f"process {process}: a restart for {', '.join(different)}", flush=True)
            restart(process)
        else:
            ask(process, "RELOAD")
            print(f"process {process}: reloaded", flush=True)


def restart(process: int) -> None:
    """Start it anew when its clients have left; the next one only when this one answers."""
    systemctl("restart", f"fulcrum-pooler@{process}")
    ask(process, "SHOW VERSION")


def reconnect() -> None:
    """Have every server connection opened anew, as soon as its transaction is over."""
    for process in running():
        ask(process, "RECONNECT")
        print(f"process {process}: connects anew", flush=True)


def drain(pid: int) -> None:
    """For the unit's ExecStop: no new clients, and an end when the last has left.

    When the whole host stops, nobody waits for clients, only for their transactions.
    """
    stopping = systemctl("is-system-running") == "stopping"
    os.kill(pid, signal.SIGINT if stopping else signal.SIGTERM)
    deadline = time.monotonic() + (STOP_SECONDS if stopping else DRAIN_SECONDS)
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.2)


def pause(database: str, seconds: int, wait: int) -> None:
    """No query to `database` is begun until `resume`, or for `seconds`, whoever dies meanwhile.

    Queries that run are waited for, `wait` seconds. All processes pause, or none. Clients wait
    longer than usual for as long.
    """
    processes = running()
    _check_name(database, processes)
    timer = _timer(database)
    systemctl("stop", f"{timer}.timer")
    later = ["systemd-run", "--quiet", "--collect", f"--unit={timer}", f"--on-active={seconds}"]
    later += ["--timer-property=AccuracySec=100ms"]
    again = [*later, sys.argv[0], "resume", database]
    subprocess.run(again, check=True, timeout=30)  # noqa: S603 - our own arguments
    try:
        for process in processes:
            ask(process, f"SET query_wait_timeout = {seconds + wait}")
        with ThreadPoolExecutor(len(processes)) as pool:
            list(pool.map(lambda one: ask(one, f"PAUSE {database}", wait), processes))
    except PoolerError:
        resume(database)
        raise


def resume(database: str) -> None:
    """The opposite of `pause`; it does no harm where nothing is paused."""
    problems = []
    for process in running():
        try:
            rows = ask(process, "SHOW DATABASES")
            if any(row["name"] == database and row["paused"] == "1" for row in rows):
                ask(process, f"RESUME {database}")
                print(f"process {process}: {database} resumed", flush=True)
            ask(process, "RELOAD")
        except PoolerError as error:
            problems.append(str(error))
    if problems:
        raise PoolerError("\n".join(problems))
    systemctl("stop", f"{_timer(database)}.timer")


def _check_name(database: str, processes: list[int]) -> None:
    if not processes:
        raise PoolerError("no process runs here: systemctl status 'fulcrum-pooler@*'")
    for process in processes:
        names = {row["name"] for row in ask(process, "SHOW DATABASES")} - {"pgbouncer"}
        if database not in names:
            there = ", ".join(sorted(names))
            raise PoolerError(f"process {process} has no database '{database}'. There are: {there}")


def _timer(database: str) -> str:
    return f"fulcrum-pooler-resume-{database}"


COLUMNS = ("process", "database", "clients", "waiting", "wait_ms", "servers", "state")
WIDTHS = (12, 18, 7, 7, 7, 8, 8)
"""As wide as usual names, so that the tables of several hosts fit together."""


def show(host: str) -> list[tuple[str, ...]]:
    """A row for each pool of each process, and for each paused database."""
    found = []
    for process in running():
        active = systemctl("is-active", f"fulcrum-pooler@{process}")
        pools = {row["database"]: row for row in ask(process, "SHOW POOLS")}
        for database in ask(process, "SHOW DATABASES"):
            pool = pools.get(database["name"], {})
            if database["name"] != "pgbouncer" and (pool or database["paused"] == "1"):
                found.append((f"{host}/{process}", *_row(pool, database, active)))
    return found


def _row(pool: Row, database: Row, active: str) -> tuple[str, ...]:
    """Clients that are served and that wait, the longest wait, and busy+idle/most connections."""
    wait = int(pool.get("maxwait", 0)) * 1000 + int(pool.get("maxwait_us", 0)) // 1000
    busy, *idle = (int(pool.get(f"sv_{key}", 0)) for key in ("active", "idle", "used", "login"))
    most = int(database["pool_size"]) + int(database["reserve_pool_size"])
    state = "paused" if database["paused"] == "1" else active
    clients = (pool.get("cl_active", "0"), pool.get("cl_waiting", "0"), str(wait))
    return (database["name"], *clients, f"{busy}+{sum(idle)}/{most}", state)


def table(rows: list[tuple[str, ...]]) -> str:
    """With a head."""
    return "\n".join(
        " ".join(f"{cell:<{width}}" for cell, width in zip(row, WIDTHS, strict=True)).rstrip()
        for row in [COLUMNS, *rows]
    )


def main() -> int:
    arguments = _parser().parse_args()
    try:
        match arguments.command:
            case "apply":
                apply()
            case "reconnect":
                reconnect()
            case "drain":
                drain(arguments.pid)
            case "pause":
                pause(arguments.database, arguments.seconds, arguments.wait)
            case "resume":
                resume(arguments.database)
            case "show":
                print(table(show(arguments.host)))
    except PoolerError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fulcrum-pooler", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("apply", help="reload every process; restart those that need it")
    commands.add_parser("reconnect", help="open every connection to PostgreSQL anew")
    one = commands.add_parser("drain", help="end a process when its clients have left")
    one.add_argument("pid", type=int)
    one = commands.add_parser("pause", help="hold every query to one database")
    one.add_argument("database")
    one.add_argument("--seconds", type=int, default=30, help="and resume after so long")
    one.add_argument("--wait", type=int, default=5, help="how long to wait for what runs")
    one = commands.add_parser("resume", help="the opposite of pause")
    one.add_argument("database")
    one = commands.add_parser("show", help="pools, clients and waits of every process")
    one.add_argument("--host", default=os.uname().nodename)
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""A replica: its slot on the primary, the copy it begins with, and how far it is behind."""

__all__ = ["Lag", "copy", "cure", "discard", "drop_unused_slots", "keep_limits", "lag", "trouble"]

import contextlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psycopg2

from infra.console import Console, Step, run_logged
from infra.credentials import Credentials
from infra.errors import ClusterError
from infra.layout import Layout
from infra.logins import ask
from infra.programs import Binaries, Program
from infra.schema import Description
from infra.supervise import basic_environment
from infra.templating import File, write
from infra.together import together


@dataclass(frozen=True)
class Lag:
    """How much WAL a replica has yet to replay, and how old the last transaction is that it has."""

    bytes: int
    seconds: float | None


def cure(alias: str) -> str:
    """The command that mends any replica."""
    return f"`.venv/bin/python -m infra rebuild {alias}` copies it anew"


def copy(
    console: Console,
    d: Description,
    layout: Layout,
    binaries: Binaries,
    credentials: Credentials,
    names: list[str],
) -> None:
    """Make the replicas that have no data yet."""
    if names:
        with console.step(f"copy the data of {', '.join(names)} from the primary") as step:
            together(lambda name: _copy(step, d, layout, binaries, credentials, name), names)


def _copy(
    step: Step,
    d: Description,
    layout: Layout,
    binaries: Binaries,
    credentials: Credentials,
    alias: str,
) -> None:
    """Copy the primary's data, in one step: a killed copy leaves nothing that looks finished.

    The slot is there before the copy, so that the primary keeps all WAL since.
    """
    temporary = _unfinished(layout, alias)
    shutil.rmtree(temporary, ignore_errors=True)
    _make_slot(d, credentials, alias)
    primary = d.servers[d.replicas[alias]]
    argv = [binaries.tool("pg_basebackup"), "-D", str(temporary), "--progress"]
    argv += ["-h", primary.host, "-p", str(primary.port), "-U", "fulcrum_replication", "-w"]
    argv += ["--checkpoint=fast", "--wal-method=stream", f"--slot={alias}"]
    argv += [] if d.postgres.fsync else ["--no-sync"]
    passwords = {"PGPASSFILE": str(layout.conf / alias / "pgpass")}
    log = layout.log(f"{alias}-copy")
    run_logged(step, argv, log, env=basic_environment(layout) | passwords)
    _write_down(temporary / "standby.signal")
    temporary.rename(layout.data(alias))


def _unfinished(layout: Layout, alias: str) -> Path:
    return layout.data(alias).with_name(f".{alias}.new")


def _make_slot(d: Description, credentials: Credentials, alias: str) -> None:
    """A new slot in the place of one that an earlier copy or a discarded one had."""
    slots = "FROM pg_replication_slots WHERE slot_name = %s"
    primary = d.replicas[alias]
    try:
        for sql in (
            f"SELECT pg_terminate_backend(active_pid, 5000) {slots} AND active",
            f"SELECT pg_drop_replication_slot(slot_name) {slots}",
            "SELECT pg_create_physical_replication_slot(%s, true)",
        ):
            ask(d, credentials, primary, sql, alias)
    except psycopg2.Error as error:
        raise ClusterError(f"{primary} has no slot for {alias}: {error}") from None


def _write_down(path: Path) -> None:
    """An empty file that survives a power cut: without this one, the copy would be a primary."""
    path.touch(mode=0o600)
    for place in (path, path.parent):
        descriptor = os.open(place, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def discard(layout: Layout, alias: str) -> None:
    """Throw a stopped replica's data away, in one step."""
    temporary = _unfinished(layout, alias)
    shutil.rmtree(temporary, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        layout.data(alias).rename(temporary)
    shutil.rmtree(temporary, ignore_errors=True)


def drop_unused_slots(console: Console, d: Description, credentials: Credentials) -> None:
    """Drop the slots of replicas that the description no longer has; they would keep WAL."""
    for primary in d.primaries:
        for name in _drop_unused_slots(d, credentials, primary):
            console.say(f"✓ drop the slot {name} on {primary}: no replica has that name")


def _drop_unused_slots(d: Description, credentials: Credentials, primary: str) -> list[str]:
    sql = """SELECT slot_name, pg_drop_replication_slot(slot_name) FROM pg_replication_slots
              WHERE slot_type = 'physical' AND NOT active AND slot_name ~ %s
                AND slot_name <> ALL (%s)"""
    known = list(d.replicas)
    rows = ask(d, credentials, primary, sql, f"^{primary}_replica[0-9]*$", known)
    return [name for name, _ in rows]


def trouble(d: Description, credentials: Credentials, alias: str) -> str:
    """Ask a replica; "" where it follows its primary, or what is wrong, with the cure."""
    primary = d.replicas[alias]
    sql = "SELECT pg_is_in_recovery(), EXISTS (SELECT FROM pg_stat_wal_receiver"
    [(follows, streams)] = ask(d, credentials, alias, f"{sql} WHERE status = 'streaming')")
    if not follows:
        return f"no replica any more, but a primary of its own; {cure(alias)}"
    if streams:
        return ""
    sql = "SELECT wal_status FROM pg_replication_slots WHERE slot_name = %s"
    try:
        slots = ask(d, credentials, primary, sql, alias)
    except psycopg2.Error:
        return f"its primary {primary} is away"
    if slots in ([], [("lost",)]):
        return f"too far behind: {primary} no longer has the WAL that it needs; {cure(alias)}"
    return f"does not stream from {primary}"


def lag(d: Description, credentials: Credentials, alias: str) -> Lag | None:
    """How far a replica is behind its primary; None where one of them is away."""
    sql = """SELECT greatest(pg_wal_lsn_diff(%s, pg_last_wal_replay_lsn()), 0)::bigint,
                    extract(epoch FROM now() - pg_last_xact_replay_timestamp())::float"""
    try:
        [(behind, seconds)] = ask(d, credentials, alias, sql, _position(d, credentials, alias))
    except psycopg2.Error:
        return None
    return Lag(behind, seconds) if behind else Lag(0, 0.0)


def _position(d: Description, credentials: Credentials, alias: str) -> str:
    """Up to where its primary has written WAL."""
    [(position,)] = ask(d, credentials, d.replicas[alias], "SELECT pg_current_wal_lsn()")
    return str(position)


def keep_limits(layout: Layout, program: Program) -> None:
    """Let a stopped replica start with limits lower than its primary had where it has come to.

    PostgreSQL refuses that. So the old ones stay, in a file beside its data, until it is started
    again and has replayed their change.
    """
    data = layout.data(program.name)
    tool = program.argv[0].removesuffix("postgres") + "pg_controldata"
    done = subprocess.run(  # noqa: S603 - a server's own program
        [tool, "-D", str(data)],
        capture_output=True,
        text=True,
        check=False,
        env=basic_environment(layout),
    )
    needed = re.findall(r"^(\w+) setting: +(\d+)$", done.stdout, re.M)
    text = (layout.conf / program.name / "postgresql.conf").read_text()
    given = dict(re.findall(r"^(\w+) = (\d+)$", text, re.M))
    lines = [f"{key} = {old}\n" for key, old in needed if int(old) > int(given.get(key, old))]
    write(data, {"limits.conf": File("".join(lines), 0o600)})

"""Cases of the matrix where Redis, a process or a clock fails."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import redis

from tests.bench.matrix_side import Side
from tests.bench.matrix_stage import Stage
from tests.bench.matrix_threads import DEADLINE, Paused, points
from tests.bench.matrix_writes import saved, saved_in_transaction

__all__ = ["FAULTS", "die_after_commit"]


def flushed(stage: Stage) -> None:
    """Emptied before a write, and after it."""
    stage.warm()
    _flush(stage)
    stage.check()
    saved(stage)
    _flush(stage)
    stage.check()


def flushed_before_commit(stage: Stage) -> None:
    """Whatever a writer has left on Redis before its COMMIT is lost."""
    stage.warm()

    def write(stand: Any) -> None:
        points.before_commit = stand
        saved_in_transaction(stage)

    with Paused(stage.side, write):
        _flush(stage)
        stage.check()
        stage.check()
    stage.check()


def _flush(stage: Stage) -> None:
    with stage.server.client as client:
        client.flushall()


def unreachable(stage: Stage) -> None:
    """The network fails: the server goes on, and has all that it had when it is back."""
    stage.warm()
    with _cut_off(stage):
        stage.attempt(saved, stage)
        stage.check()
    stage.check()


@contextmanager
def _cut_off(stage: Stage) -> Iterator[None]:
    control = redis.Redis(unix_socket_path=str(stage.server.directory / "redis.sock"))
    control.config_set("port", 0)
    control.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    try:
        yield
    finally:
        control.config_set("port", stage.server.port)
        control.close()


def down(stage: Stage) -> None:
    """It keeps its content, is killed, and comes back with that after a write."""
    stage.warm()
    _save(stage)
    stage.server.kill()
    stage.attempt(saved, stage)
    stage.check()
    _start_again(stage)
    stage.check()


def older_copy(stage: Stage) -> None:
    """It is killed after a write, and comes back with what it had before: as a lagging replica."""
    stage.warm()
    _save(stage)
    saved(stage)
    stage.check()
    stage.server.kill()
    _start_again(stage)
    stage.check()


def _save(stage: Stage) -> None:
    with stage.server.client as client:
        client.execute_command("SAVE")


def _start_again(stage: Stage) -> None:
    start_redis(stage.server)
    (stage.server.directory / "dump.rdb").unlink()


def start_redis(server: Any) -> None:
    """With a socket, by which it can be told to close its port."""
    server.start("--unixsocket", str(server.directory / "redis.sock"))


def killed_after_commit(stage: Stage) -> None:
    """A process of its own, that ends in the instruction after COMMIT."""
    stage.warm()
    command = [sys.executable, "-m", "tests.bench.matrix_worker", stage.side.kind, "die"]
    told = json.dumps(stage.side.given)
    died = subprocess.run(command, input=told, text=True, check=False, timeout=3 * DEADLINE)
    if died.returncode != -signal.SIGKILL:
        raise RuntimeError(f"the writer has ended with {died.returncode}")
    stage.check()
    stage.check()


def die_after_commit(side: Side) -> None:
    """What that process does."""
    stage = Stage(side)
    points.after_commit = lambda: os.kill(os.getpid(), signal.SIGKILL)
    saved_in_transaction(stage)


def clock_jumps_back(stage: Stage) -> None:
    """Entries are made an hour ahead of the write, by this clock or another host's."""
    _flush(stage)
    with _jumped(3600):
        stage.warm()
    saved(stage)
    stage.check()


def clock_jumps_ahead(stage: Stage) -> None:
    stage.warm()
    with _jumped(3600):
        saved(stage)
        stage.check()
        saved(stage, title="newer")
        stage.check()


@contextmanager
def _jumped(seconds: float) -> Iterator[None]:
    """`time.time` is that much ahead, in every module that has taken it."""
    import time

    real = time.time
    modules = [vars(module) for module in list(sys.modules.values()) if hasattr(module, "__dict__")]
    holders = [names for names in modules if names.get("time") is real]
    for names in holders:
        names["time"] = lambda: real() + seconds
    try:
        yield
    finally:
        for names in holders:
            names["time"] = real


FAULTS: dict[str, Callable[[Stage], None]] = {
    "FLUSHALL before and after a write": flushed,
    "FLUSHALL between save() and COMMIT": flushed_before_commit,
    "Redis cut off during a write": unreachable,
    "Redis down, a write, up with its content": down,
    "Redis replaced by an older copy": older_copy,
    "a writer killed between COMMIT and settling": killed_after_commit,
    "the clock jumps back": clock_jumps_back,
    "the clock jumps ahead": clock_jumps_ahead,
}

"""A cluster of real processes, wrapped for tests: run a command, kill one, ask with a deadline."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil
import psycopg2
import redis

from tests.variants import CHECKOUT

DEADLINE = 120.0
T = TypeVar("T")


def eventually(ask: Callable[[], T]) -> T:
    """Ask until the answer is true, until DEADLINE; an error is an answer too."""
    deadline = time.monotonic() + DEADLINE
    while True:
        error: Exception | None = None
        try:
            if answer := ask():
                return answer
        except (OSError, psycopg2.Error, redis.RedisError) as problem:
            error = problem
        assert time.monotonic() < deadline, f"not within {DEADLINE:.0f} s: {error or answer}"
        time.sleep(0.05)


@dataclass(frozen=True)
class Cluster:
    """A description and a root. Every command is a process of its own, as a person runs it."""

    description: Path
    root: Path

    def run(self, *arguments: str, status: int | None = 0) -> str:
        """Run `python -m infra`; what it printed. Fails unless it ends with `status`."""
        done = subprocess.run(
            [sys.executable, "-m", "infra", *self.options, *arguments],
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            check=False,
        )
        said = done.stdout + done.stderr
        assert status is None or done.returncode == status, said
        return said

    @property
    def options(self) -> list[str]:
        """--cluster and --root."""
        return ["--cluster", str(self.description), "--root", str(self.root)]

    def up(self) -> str:
        """Bring the servers up, without the site."""
        return self.run("up", "--only", "servers")

    def rows(self) -> dict[str, dict[str, Any]]:
        """Process → its row of `status --json`."""
        return {row["name"]: row for row in json.loads(self.run("status", "--json", status=None))}

    def pids(self) -> dict[str, int]:
        """Process → pid, of those that run."""
        return {name: row["pid"] for name, row in self.rows().items() if row["pid"]}

    def kill(self, name: str) -> int:
        """kill -9; the pid that it had."""
        pid = self.pids()[name]
        os.kill(pid, signal.SIGKILL)
        return pid

    def kill_supervisor(self) -> None:
        """kill -9, and it is gone."""
        supervisor = psutil.Process(int((self.root / "run" / "supervisord.pid").read_text()))
        supervisor.kill()
        psutil.wait_procs([supervisor], timeout=DEADLINE)

    def wait_for_another(self, name: str, pid: int) -> None:
        """Wait until `name` is well again in a new process."""
        eventually(lambda: (row := self.rows()[name])["healthy"] and row["pid"] != pid)

    def config(self, role: str = "app") -> dict[str, Any]:
        """What the site reads, as `app`, `owner` or `admin`."""
        name = "site.json" if role == "app" else f"site-{role}.json"
        loaded: dict[str, Any] = json.loads((self.root / name).read_text())
        return loaded

    def secret(self, name: str) -> str:
        """A generated password."""
        return str(json.loads((self.root / "secrets.json").read_text())[name])

    def connect(self, alias: str, role: str = "app", **change: Any) -> Any:
        """A psycopg2 connection in autocommit, as the site makes it, but for `change`."""
        settings = {**self.config(role)["databases"][alias], **change}
        for key in ("number", "replica_of"):
            settings.pop(key, None)
        settings["dbname"] = settings.pop("name")
        connection = psycopg2.connect(**settings, connect_timeout=20)
        connection.autocommit = True
        return connection

    def pooler(self) -> Any:
        """A connection to the pooler's console."""
        return self.connect(
            "default",
            name="pgbouncer",
            user="fulcrum_monitor",
            password=self.secret("pooler_monitor"),
        )

    def redis(self, purpose: str) -> "redis.Redis":
        """A client of the cache or the broker."""
        return redis.Redis.from_url(self.config()[purpose], socket_timeout=20)

    def files(self) -> dict[str, tuple[int, int]]:
        """Path → inode and modification time, of configuration, secrets and stamps."""
        found = [self.root / "secrets.json", *self.root.glob("site*.json")]
        for folder in ("conf", "run", "done"):
            found += [path for path in (self.root / folder).rglob("*") if path.is_file()]
        stats = [(path, path.stat()) for path in found]
        return {str(path): (stat.st_ino, stat.st_mtime_ns) for path, stat in stats}

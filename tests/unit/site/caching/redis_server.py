"""A Redis of the tests' own, that can be stopped, frozen, emptied and watched."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import redis

__all__ = ["RedisServer"]


class RedisServer:
    """One process. `directory` keeps its content where a test saves it."""

    def __init__(self, port: int, directory: Path) -> None:
        self.port, self.directory = port, directory
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def client(self) -> Any:
        return redis.Redis(port=self.port, socket_timeout=30)

    def start(self, *more: str) -> None:
        """With further options of redis-server."""
        options = ["--port", str(self.port), "--save", "", "--dir", str(self.directory)]
        options += ["--bind", "127.0.0.1", "--enable-debug-command", "local", *more]
        log = (self.directory / "redis.log").open("ab")
        self.process = subprocess.Popen(["redis-server", *options], stdout=log, stderr=log)
        log.close()
        deadline = monotonic() + 60
        while monotonic() < deadline:
            try:
                with self.client as client:
                    client.ping()
                return
            except (redis.ConnectionError, redis.TimeoutError):
                sleep(0.01)
        raise TimeoutError(f"no Redis on {self.port} after 60 s")

    def kill(self) -> None:
        assert self.process is not None
        if self.process.poll() is not None:
            return
        os.kill(self.process.pid, signal.SIGCONT)
        self.process.kill()
        self.process.wait(timeout=60)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It takes messages and answers none."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.process.pid, signal.SIGCONT)

    @contextmanager
    def away(self) -> Iterator[None]:
        """It cannot be reached, and comes back with its old content, and the same run."""
        with self.client as client:
            client.config_set("maxclients", 10000)
            client.config_set("requirepass", "nobody knows")
            keeper = redis.Redis(port=self.port, password="nobody knows")
            keeper.ping()
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        try:
            yield
        finally:
            keeper.config_set("requirepass", "")
            keeper.close()

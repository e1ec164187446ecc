"""Several Redis servers that belong together: a Sentinel's set, and a Cluster of three."""

import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import redis

from tests.unit.site.caching.redis_server import RedisServer

__all__ = ["Cluster", "SentinelSet", "free_port", "until"]

SENTINEL = """
port {port}
bind 127.0.0.1
dir {directory}
sentinel monitor {name} 127.0.0.1 {primary} 1
sentinel down-after-milliseconds {name} 400
sentinel failover-timeout {name} 3000
"""


def free_port() -> int:
    """Whose bus port, 10,000 above, is free as well."""
    while True:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port = int(one.getsockname()[1]) - 10_000
        with suppress(OSError), socket.socket() as one:
            one.bind(("127.0.0.1", port))
            return port


def until(is_so: Callable[[], Any], seconds: float = 20) -> None:
    """Raises TimeoutError where it does not come about."""
    deadline = monotonic() + seconds
    while monotonic() < deadline:
        with suppress(redis.RedisError):
            if is_so():
                return
        sleep(0.02)
    raise TimeoutError(f"not after {seconds} s")


class SentinelSet:
    """A primary, a replica, and who promotes it."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.name = f"shelf{self.port}"  # django-redis keeps pools by it, for all of a process
        self.primary, self.replica = (_server(directory, name) for name in ("primary", "replica"))
        self._config = directory / "sentinel.conf"
        self._config.write_text(
            SENTINEL.format(
                name=self.name, port=self.port, directory=directory, primary=self.primary.port
            )
        )

    @contextmanager
    def running(self) -> Iterator["SentinelSet"]:
        self.primary.start()
        self.replica.start("--replicaof", "127.0.0.1", str(self.primary.port))
        command = ["redis-server", str(self._config), "--sentinel"]
        sentinel = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            with redis.Redis(port=self.port) as asked:
                until(lambda: asked.sentinel_master(self.name)["num-slaves"] == 1)
            until(lambda: self.replica.client.info("replication")["master_link_status"] == "up")
            yield self
        finally:
            sentinel.kill()
            sentinel.wait(10)
            self.primary.kill()
            self.replica.kill()

    def fail_over(self) -> None:
        """By command, to the replica; returns when it is the primary."""
        with redis.Redis(port=self.port) as asked:
            asked.execute_command("SENTINEL", "FAILOVER", self.name)
            until(lambda: self.replica.client.info("replication")["role"] == "master")
            until(lambda: asked.sentinel_master(self.name)["port"] == self.replica.port)

    def caches(self) -> dict[str, Any]:
        """Django's CACHES."""
        return {
            "default": {
                "BACKEND": "django_redis.cache.RedisCache",
                "LOCATION": f"redis://{self.name}/0",
                "OPTIONS": {
                    "CLIENT_CLASS": "django_redis.client.SentinelClient",
                    "CONNECTION_FACTORY": "django_redis.pool.SentinelConnectionFactory",
                    "SENTINELS": [("127.0.0.1", self.port)],
                },
            }
        }


class Cluster:
    """Three primaries, each with a third of the slots; `replicas`: one for the first."""

    def __init__(self, directory: Path) -> None:
        self.nodes = [_server(directory, f"node{number}") for number in range(3)]
        self.replica = _server(directory, "replica")

    @contextmanager
    def running(self) -> Iterator["Cluster"]:
        started = []
        try:
            for node in (*self.nodes, self.replica):
                node.start("--cluster-enabled", "yes", "--cluster-node-timeout", "1000")
                started.append(node)
            where = [f"127.0.0.1:{node.port}" for node in self.nodes]
            _cli("--cluster", "create", *where, "--cluster-yes")
            until(self._is_ok)
            yield self
        finally:
            for node in started:
                node.kill()

    def of(self, slot: str) -> RedisServer:
        """The node that has the slot of that name."""
        return self.nodes[self._number_of(slot)]

    def has_replica(self, node: RedisServer) -> None:
        """It gets one, that is in step with it."""
        first = f"127.0.0.1:{node.port}"
        node_id = node.client.cluster("myid").decode()
        mine = f"127.0.0.1:{self.replica.port}"
        options = ("--cluster-slave", "--cluster-master-id", node_id)
        _cli("--cluster", "add-node", mine, first, *options)
        until(lambda: self.replica.client.info("replication")["master_link_status"] == "up")
        until(lambda: all(len(n.client.cluster("nodes")) == 4 for n in self.nodes))

    def caches(self) -> dict[str, Any]:
        """Django's CACHES."""
        return {
            "default": {
                "BACKEND": "django_redis.cache.RedisCache",
                "LOCATION": f"redis://127.0.0.1:{self.nodes[0].port}",
                "OPTIONS": {"CONNECTION_FACTORY": "caching.servers.ClusterFactory"},
            }
        }

    def _number_of(self, slot: str) -> int:
        number = self.nodes[0].client.cluster("keyslot", f"{{{slot}}}")
        return 0 if number <= 5460 else 1 if number <= 10922 else 2

    def _is_ok(self) -> bool:
        return all(n.client.cluster("info")["cluster_state"] == "ok" for n in self.nodes)


def _server(directory: Path, name: str) -> RedisServer:
    place = directory / name
    place.mkdir()
    return RedisServer(free_port(), place)


def _cli(*arguments: str) -> None:
    done = subprocess.run(
        ["redis-cli", *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr

"""Redis of real hosts: the files, the users, and what gives a running server its settings."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import redis

from infra.hosts import Cluster, Facts, HostFile, files, variables
from infra.hosts.redis import redis_url
from infra.rotation import Rotation
from tests.unit.infra.example import tool

FACTS = Facts(memory_mb=4096, cores=4)


def made(cluster: Cluster, host: str) -> dict[str, HostFile]:
    return {Path(file.path).name: file for file in files("redis", cluster, host, FACTS)}


def test_cache_forgets_and_broker_does_not(cluster: Cluster) -> None:
    cache = made(cluster, "app1")["redis-cache.conf"].content
    broker = made(cluster, "app2")["redis-broker.conf"].content
    assert "\nmaxmemory-policy allkeys-lru\nappendonly no\n" in cache
    assert "\nmaxmemory-policy noeviction\nappendonly yes\n" in broker
    assert "redis-broker.conf" not in made(cluster, "app1")


def test_nobody_is_served_without_tls(cluster: Cluster) -> None:
    settings = tool("redis", "fulcrum_redis").settings(
        made(cluster, "app1")["redis-cache.conf"].content
    )
    assert (settings["port"], settings["tls-port"]) == ("0", "6379")
    assert settings["bind"] == cluster.description.addresses["app1"]
    assert "requirepass" not in settings


def test_no_password_is_on_the_host(cluster: Cluster) -> None:
    secrets = [value for value in vars(cluster.credentials).values() if value]
    for file in made(cluster, "app2").values():
        assert not [secret for secret in secrets if secret in file.content], file.path
    assert made(cluster, "app2")["redis-broker.acl"].secret


def test_the_url_names_the_user_and_whom_to_trust(cluster: Cluster) -> None:
    url = urlsplit(redis_url(cluster.description, cluster.credentials, "broker", Rotation()))
    assert (url.scheme, url.username, url.port) == ("rediss", "fulcrum_app", 6380)
    assert (url.password, url.hostname) == (cluster.credentials.broker, "app2")
    query = {"ssl_cert_reqs": ["required"], "ssl_ca_certs": ["/etc/fulcrum/tls/ca.crt"]}
    assert parse_qs(url.query) == query


def test_the_memory_of_all_is_added(cluster: Cluster) -> None:
    plan = variables("redis", cluster, "app1", FACTS)
    assert (plan["memory_mb"], plan["available_mb"]) == (256, 4096)


@pytest.fixture
def server(cluster: Cluster, tmp_path: Path) -> Iterator[Path]:
    """A Redis with the broker's users, at a socket."""
    program = shutil.which("redis-server")
    if not program:
        pytest.skip("needs redis-server")
    acl, path = tmp_path / "acl", tmp_path / "s"
    acl.write_text(made(cluster, "app2")["redis-broker.acl"].content)
    options = f"--port 0 --unixsocket {path} --dir {tmp_path} --aclfile {acl}".split()
    with subprocess.Popen(
        [program, *options, "--save", ""], stdout=subprocess.PIPE, text=True
    ) as started:
        for line in started.stdout or ():
            if "eady to accept connections" in line:
                break
        yield path
        started.terminate()


def test_users_may_do_what_they_must_and_no_more(cluster: Cluster, server: Path) -> None:
    credentials = cluster.credentials
    may = {
        ("fulcrum_app", credentials.broker): [
            *("SET k v", "EVAL return(1) 0", "SCRIPT LOAD return(1)", "PUBLISH c m", "TIME"),
            *("LPUSH q t", "BRPOP q 1", "SADD s m", "ZADD z 1 m", "HSET h f v", "SCAN 0"),
        ],
        ("fulcrum_admin", credentials.redis_admin): [
            *("ACL LOAD", "CONFIG GET maxmemory", "CONFIG SET maxmemory 1mb", "INFO"),
        ],
        ("fulcrum_monitor", credentials.redis_monitor): [
            *("INFO", "SELECT 0", "LLEN q", "MEMORY USAGE q", "SLOWLOG LEN"),
        ],
    }
    may_not = {
        "fulcrum_app": ["CONFIG GET maxmemory", "FLUSHALL", "KEYS *", "ACL LIST", "SHUTDOWN"],
        "fulcrum_admin": ["GET k", "SET k v", "FLUSHALL", "SHUTDOWN", "ACL SETUSER x"],
        "fulcrum_monitor": ["GET k", "DEL k", "CONFIG SET maxmemory 1mb", "SET k v"],
    }
    for (user, password), commands in may.items():
        with closing(
            redis.Redis(unix_socket_path=str(server), username=user, password=password)
        ) as client:
            for command in commands:
                client.execute_command(*command.split(" "))
            for command in may_not[user]:
                with pytest.raises(redis.exceptions.NoPermissionError):
                    client.execute_command(*command.split(" "))


def test_without_a_user_nobody_is_served(server: Path) -> None:
    with (
        closing(redis.Redis(unix_socket_path=str(server))) as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.ping()


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
@pytest.mark.parametrize(
    ("kind", "text", "right"),
    [
        ("conf", "maxmemory 64mb\nappendonly yes\n", True),
        ("conf", "maxmemry 64mb\n", False),
        ("acl", "user somebody reset on +@all\n", True),
        ("acl", "user somebody reset on +@everything\n", False),
    ],
)
def test_a_file_that_redis_does_not_understand_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, text: str, right: bool
) -> None:
    if not shutil.which("redis-server"):
        pytest.skip("needs redis-server")
    redis_check, file = tool("redis", "redis_check"), tmp_path / "file"
    file.write_text(text)
    user = ("setpriv", "--reuid=redis", "--regid=redis", "--clear-groups", "--")
    monkeypatch.setattr(redis_check, "AS_USER", user)
    assert bool(redis_check.refusal(kind, file)) is not right


def test_sizes_are_compared_as_redis_says_them() -> None:
    fulcrum_redis = tool("redis", "fulcrum_redis")
    assert fulcrum_redis.plain("64mb") == str(64 * 1024 * 1024)
    assert fulcrum_redis.settings('dir "/a b"\nsave ""\n# no\n') == {"dir": "/a b", "save": ""}

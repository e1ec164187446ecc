"""A Redis for tests of the site, named by its settings, that can be stopped, frozen and emptied."""

import shutil
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.site.caching.redis_server import RedisServer

__all__ = ["redis_process", "redis_server"]


@pytest.fixture(scope="session")
def redis_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    if not shutil.which("redis-server"):
        pytest.skip("there is no redis-server on this machine")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = RedisServer(port, tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def redis_server(redis_process: RedisServer, settings: Any) -> Iterator[RedisServer]:
    """An empty one, which the site's settings name as its cache."""
    from config.cluster import caches
    from prepared import server

    settings.CACHES = caches({"cache": f"redis://127.0.0.1:{redis_process.port}/0"})
    with redis_process.client as client:
        client.flushall()
    server.forget()
    yield redis_process
    server.forget()

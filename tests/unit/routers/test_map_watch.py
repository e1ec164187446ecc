"""The watcher's thread against real servers: how a process learns of a new map."""

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from routers import ShardMap, shard_of
from routers.catalog import contact
from routers.models import MapVersion
from routers.shard_map import Source, held_map, publish_map, use_map, watch
from routers.shard_map.announce import announce, known_versions
from routers.shard_map.file import load_map
from tests.unit.conftest import CONFIG

EVEN = ShardMap.even(["shard01", "shard02", "shard03"])
NEVER = 3600
DEADLINE = 30.0
pytestmark = pytest.mark.skipif(not CONFIG, reason="needs Redis, and a database that threads share")


def eventually(ask: Callable[[], Any]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not ask():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.01)


def version() -> int:
    snapshot, _ = held_map()
    return snapshot.version if snapshot else 0


def elsewhere() -> None:
    """Another process publishes version 2: this one is told nothing but what Redis says."""
    pins = {"1": "shard03"}
    MapVersion.objects.create(version=2, slots=EVEN.runs(), pins=pins, reason="elsewhere")
    announce(2)


@pytest.fixture
def watching(
    django_db_setup: None, django_db_blocker: Any, settings: Any, tmp_path: Path
) -> Iterator[Callable[..., None]]:
    """Starts the watcher with these settings, on version 1 of the map."""

    def start(**given: Any) -> None:
        redis = json.loads(Path(str(CONFIG)).read_text())["cache"]
        defaults = {"MAP_REDIS": redis, "MAP_FILE": str(tmp_path / "map.json")}
        settings.SHARDING = {**settings.SHARDING, **defaults, **given}
        watch.start()

    with django_db_blocker.unblock():
        MapVersion.objects.all().delete()
        use_map(publish_map(EVEN, reason="first"))
        yield start
        watch.stop()
        MapVersion.objects.all().delete()
        connections.close_all()
    contact.made()


def test_a_version_announced_on_redis_is_held_and_saved(watching: Callable[..., None]) -> None:
    watching(MAP_POLL_SECONDS=NEVER, MAP_POLL_SECONDS_WITH_REDIS=NEVER)
    eventually(lambda: watch.redis_state() == "listening")
    elsewhere()
    eventually(lambda: version() == 2)
    assert shard_of(1) == "shard03"
    eventually(lambda: (saved := load_map()) and saved.version == 2)


def test_without_redis_the_catalog_is_looked_at(watching: Callable[..., None]) -> None:
    watching(MAP_REDIS=None, MAP_POLL_SECONDS=0.05)
    assert watch.redis_state() == "off"
    elsewhere()
    eventually(lambda: version() == 2)


def test_a_lost_announcement_is_made_good(watching: Callable[..., None]) -> None:
    watching(MAP_POLL_SECONDS=NEVER, MAP_POLL_SECONDS_WITH_REDIS=0.05)
    eventually(lambda: watch.redis_state() == "listening")
    MapVersion.objects.create(version=2, slots=EVEN.runs(), reason="told nobody")
    eventually(lambda: version() == 2)


@pytest.mark.parametrize("answers", ["refuses", "is frozen"])
def test_a_redis_that_is_away_leaves_the_catalog(
    watching: Callable[..., None], answers: str, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as frozen:
        port = frozen.getsockname()[1] if answers == "is frozen" else 1
        watching(MAP_REDIS=f"redis://127.0.0.1:{port}/0", MAP_POLL_SECONDS=0.05)
        elsewhere()
        assert "Version 2 of the map is not announced" in caplog.text
        eventually(lambda: version() == 2)
        assert watch.redis_state() == "away"


def test_a_catalog_that_comes_back_is_noticed(
    watching: Callable[..., None], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = connections.settings["default"]
    with monkeypatch.context() as patch:
        patch.setitem(given, "PORT", 1)
        connections["default"].close()
        watching(MAP_POLL_SECONDS=0.05)
        eventually(lambda: contact.away_since is not None)
        assert version() == 1
    eventually(lambda: contact.away_since is None)
    elsewhere()
    eventually(lambda: version() == 2)


def test_an_older_map_in_the_catalog_turns_nothing_back(watching: Callable[..., None]) -> None:
    newer = use_map(ShardMap(EVEN.slots, {1: "shard03"}, 9))
    watching(MAP_POLL_SECONDS=0.05, MAP_REDIS=None)
    before = contact.answered_at or 0
    eventually(lambda: (contact.answered_at or 0) > before)
    assert held_map() == (newer, Source.GIVEN)


def test_a_forked_child_watches_by_itself(watching: Callable[..., None]) -> None:
    watching(MAP_POLL_SECONDS=0.05, MAP_REDIS=None)
    child = os.fork()
    if child == 0:
        try:
            eventually(lambda: version() == 2)
        except BaseException:
            os._exit(1)
        os._exit(0)
    elsewhere()
    assert os.waitpid(child, 0)[1] == 0


def test_processes_tell_which_version_they_have(watching: Callable[..., None]) -> None:
    watching()
    me = f"{socket.gethostname()}:{os.getpid()}"
    eventually(lambda: known_versions().get(me) == 1)
    elsewhere()
    eventually(lambda: known_versions().get(me) == 2)


def test_starting_twice_is_starting_once(watching: Callable[..., None]) -> None:
    watching()
    first = watch._watcher
    watch.start()
    assert watch._watcher is first

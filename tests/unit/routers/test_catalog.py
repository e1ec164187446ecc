"""The catalog away, and a frozen server: on PostgreSQL, where there is a server to be away."""

import os
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import OperationalError, connections
from django.db.backends.signals import connection_created

from routers import ShardMap, catalog, current_map
from routers.catalog import CatalogAway, ask_catalog, contact, guard
from routers.deadline import deadline, own_connection
from routers.models import MapVersion
from routers.shard_map import Source, held_map, publish_map, refresh_map, use_map
from routers.shard_map.file import save_map
from tests.unit.conftest import CONFIG

EVEN = ShardMap.even(["shard01", "shard02", "shard03"])
on_postgresql = pytest.mark.skipif(not CONFIG, reason="SQLite has no server that could be away")


@pytest.fixture(autouse=True)
def databases(
    django_db_setup: None,
    django_db_blocker: Any,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[None]:
    """The databases as they are, without a test's transaction around.

    A catalog that answers may be slow to, and one that does not is left alone for a whole test.
    """
    settings.SHARDING = {**settings.SHARDING, "CATALOG_SECONDS": 5.0}
    monkeypatch.setattr(catalog, "RETRY_SECONDS", 3600)
    contact.made()
    with django_db_blocker.unblock():
        yield
        connections.close_all()
        MapVersion.objects.all().delete()
        connections.close_all()
    contact.made()


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The catalog's port leads nowhere."""
    connection = connections["default"]
    connection.close()
    with monkeypatch.context() as patch:
        patch.setitem(connection.settings_dict, "PORT", 1)
        yield


@pytest.fixture
def no_map() -> Iterator[None]:
    """A process that has just begun."""
    use_map(None)  # type: ignore[arg-type]
    yield
    use_map(EVEN)


@on_postgresql
def test_a_query_is_broken_off_at_its_deadline() -> None:
    began = time.monotonic()
    with (
        pytest.raises(OperationalError),
        own_connection("shard01", 0.2) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT pg_sleep(30)")
    assert time.monotonic() - began < 25


@on_postgresql
def test_a_deadline_that_is_kept_leaves_the_connection_alone() -> None:
    with deadline(connections["shard01"], 4.0), connections["shard01"].cursor() as cursor:
        cursor.execute("SELECT 1")
    held = connections["shard01"].connection
    with connections["shard01"].cursor() as cursor:
        cursor.execute("SELECT pg_sleep(4.5)")
    assert connections["shard01"].connection is held


@on_postgresql
def test_a_frozen_catalog_is_asked_once_and_then_left_alone() -> None:
    def freeze() -> None:
        with connections["default"].cursor() as cursor:
            cursor.execute("SELECT pg_sleep(30)")

    with pytest.raises(CatalogAway, match=r"The catalog \(default\) is away"):
        ask_catalog(freeze)
    assert contact.away_since is not None
    asked: list[int] = []
    with pytest.raises(CatalogAway):
        ask_catalog(lambda: asked.append(1))
    assert asked == []
    ask_catalog(MapVersion.objects.count, even_if_away=True)
    assert contact.away_since is None
    ask_catalog(lambda: asked.append(1))
    assert asked == [1]


@pytest.fixture
def guarded() -> Iterator[None]:
    """The process guards its catalog, as a server's does."""
    guard()
    yield
    connection_created.disconnect(dispatch_uid="routers.catalog")
    connection = connections["default"]
    others = [w for w in connection.execute_wrappers if "_guard" not in w.__qualname__]
    connection.execute_wrappers[:] = others
    vars(connection).pop("is_usable", None)


@on_postgresql
def test_every_query_of_a_server_on_the_catalog_is_bounded(guarded: None) -> None:
    connections["default"].close()
    with (
        pytest.raises(CatalogAway),
        connections["default"].cursor() as cursor,
    ):
        cursor.execute("SELECT pg_sleep(30)")
    with pytest.raises(CatalogAway):
        MapVersion.objects.count()
    assert ask_catalog(MapVersion.objects.count, even_if_away=True) == 0
    assert MapVersion.objects.count() == 0


@on_postgresql
def test_a_frozen_health_check_is_bounded_too(guarded: None, settings: Any) -> None:
    """A server that froze under an open connection: here its socket leads to one that is silent."""
    settings.SHARDING = {**settings.SHARDING, "CATALOG_SECONDS": 0.2}
    connection = connections["default"]
    connection.close()
    connection.ensure_connection()
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as silent,
    ):
        os.dup2(silent.fileno(), connection.connection.fileno())
        connection.health_check_enabled = True
        connection.health_check_done = False
        with pytest.raises(CatalogAway, match="no answer in time"):
            MapVersion.objects.count()
        assert connection.connection is None, "nothing asks it again at the end of the request"


@on_postgresql
def test_a_mistake_is_no_outage() -> None:
    def wrong() -> None:
        with connections["default"].cursor() as cursor:
            cursor.execute("SET statement_timeout = '20ms'; SELECT pg_sleep(30)")

    with pytest.raises(OperationalError) as raised:
        ask_catalog(wrong)
    assert not isinstance(raised.value, CatalogAway)
    assert contact.away_since is None


@on_postgresql
def test_a_process_starts_from_disk_while_the_catalog_is_away(
    no_map: None, away: None, settings: Any, tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(CatalogAway):
        current_map()
    settings.SHARDING = {**settings.SHARDING, "MAP_FILE": str(tmp_path / "map.json")}
    save_map(ShardMap(EVEN.slots, {1: "shard03"}, 7))
    assert current_map().pins == {1: "shard03"}
    assert held_map() == (current_map(), Source.DISK)
    assert "version 7 of the map is from disk" in caplog.text


def test_the_catalog_takes_the_place_of_the_disk(no_map: None) -> None:
    stored = publish_map(EVEN, reason="first")
    use_map(stored)
    assert held_map()[1] is Source.GIVEN
    assert refresh_map() == stored
    assert held_map()[1] is Source.CATALOG

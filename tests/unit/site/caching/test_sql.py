"""What the cache asks for its own sake."""

import os
import socket
import time

import pytest
from django.db import connections

from caching import service
from caching.clock import now
from caching.sql import ask
from routers import catalog
from routers.conf import CATALOG
from tests.unit.databases import CONFIG


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> None:
    """The catalog did not answer a moment ago."""
    monkeypatch.setattr(catalog.contact, "retry_at", time.monotonic() + 60)
    monkeypatch.setattr(catalog.contact, "error", "no answer")
    monkeypatch.setattr(catalog.contact, "made", lambda: None)  # as if nobody had reached it


@pytest.mark.django_db(databases="__all__")
def test_a_catalog_that_is_away_is_not_asked_again(away: None) -> None:
    with pytest.raises(catalog.CatalogAway, match="no answer"):
        ask(CATALOG, "no SQL at all")
    assert service._renewed(CATALOG).identity == ""
    assert service._renewed(CATALOG).until > now()


@pytest.mark.skipif(not CONFIG, reason="SQLite has no connection that breaks")
@pytest.mark.parametrize("alias", [CATALOG, "shard02"])
def test_a_connection_that_broke_while_it_was_idle_is_no_outage(
    db_for_real: None, alias: str
) -> None:
    connection = connections[alias]
    connection.ensure_connection()
    with socket.socket(fileno=os.dup(connection.connection.fileno())) as broken:
        broken.shutdown(socket.SHUT_RDWR)
    connection.health_check_enabled, connection.health_check_done = True, False  # a request begins
    assert ask(alias, "SELECT 1") == (1,)


def test_who_insists_is_not_stopped_by_what_is_asked_inside(db_for_real: None, away: None) -> None:
    """The watcher of the map insists, and what it asks may ask the cache."""

    def asks_again() -> list[str]:
        return list(map(catalog.ask_catalog, (lambda: "one", lambda: "two")))

    with pytest.raises(catalog.CatalogAway):
        asks_again()
    assert catalog.ask_catalog(asks_again, even_if_away=True) == ["one", "two"]
    with pytest.raises(catalog.CatalogAway):
        asks_again()

"""What the cache asks for its own sake."""

import time

import pytest
from django.db import connections

from caching import service
from caching.clock import now
from caching.sql import ask
from routers import catalog
from routers.conf import CATALOG


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> None:
    """The catalog did not answer a moment ago."""
    monkeypatch.setattr(catalog.contact, "retry_at", time.monotonic() + 60)
    monkeypatch.setattr(catalog.contact, "error", "no answer")


@pytest.mark.django_db(databases="__all__")
def test_a_catalog_that_is_away_is_not_asked_again(away: None) -> None:
    with pytest.raises(catalog.CatalogAway, match="no answer"):
        ask(CATALOG, "no SQL at all")
    assert service._renewed(CATALOG).identity == ""
    assert service._renewed(CATALOG).until > now()


def test_who_insists_is_not_stopped_by_what_is_asked_inside(away: None) -> None:
    """The watcher of the map insists, and what it asks may ask the cache."""

    def asks_again() -> str:
        catalog.ask_catalog(lambda: None)
        return catalog.ask_catalog(lambda: "answer")

    connections[CATALOG].connect = lambda: None  # type: ignore[method-assign]
    try:
        assert catalog.ask_catalog(asks_again, even_if_away=True) == "answer"
    finally:
        del connections[CATALOG].connect

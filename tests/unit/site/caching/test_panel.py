"""The debug toolbar's panel."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.template import Context, Engine

import caching
from caching.panel import CachingPanel
from caching.wire import Wire
from routers import account_context
from tests.unit.site.caching.redis_server import RedisServer
from tests.unit.site.caching.shelf.models import Book
from tests.unit.site.caching.support import ONE


class Panel(CachingPanel):
    """Without the toolbar's store."""

    stats: dict[str, Any]

    def record_stats(self, stats: dict[str, Any]) -> None:
        self.stats = stats

    def get_stats(self) -> dict[str, Any]:
        return self.stats


@pytest.fixture
def panel(cached: RedisServer) -> Iterator[Panel]:
    plain = Wire.call
    Panel.ready()
    Panel.ready()
    yield Panel(None, None)
    Wire.call = plain  # type: ignore[method-assign]


def test_what_a_request_asked(panel: Panel) -> None:
    with account_context(ONE):
        made = Book.objects.create(title="one")
        panel.enable_instrumentation()
        for _ in range(2):
            Book.objects.get(pk=made.pk)
        panel.disable_instrumentation()
        Book.objects.get(pk=made.pk)
    panel.generate_stats(None, None)
    miss, hit = panel.stats["questions"]
    assert (miss["label"], miss["outcome"], miss["place"]) == ("shelf.Book", "miss", f"a{ONE}")
    assert (hit["outcome"], hit["place"]) == ("hit", f"a{ONE}")
    assert hit["milliseconds"] > 0
    assert hit["size"] > 0
    assert [trip["command"] for trip in panel.trips][-1] == "MGET"
    assert panel.stats["total"] == sum(trip["milliseconds"] for trip in panel.trips)
    assert panel.nav_subtitle == f"1 hits of 2, {len(panel.trips)} round trips"


def test_it_is_shown(panel: Panel) -> None:
    with account_context(ONE):
        panel.enable_instrumentation()
        Book.objects.count()
        panel.disable_instrumentation()
    panel.generate_stats(None, None)
    folder = Path(caching.__file__).parent / "templates"
    shown = Engine(dirs=[str(folder)]).get_template(panel.template)
    said = shown.render(Context(panel.stats))
    assert "<td>shelf.Book</td>" in said
    assert f"<code>a{ONE}</code>" in said


def test_requests_at_once_are_kept_apart(panel: Panel) -> None:
    from tests.unit.site.caching.support import elsewhere

    with account_context(ONE):
        panel.enable_instrumentation()
        elsewhere(lambda: _uncarried())
        panel.disable_instrumentation()
    assert panel.trips == panel.questions == []


def _uncarried() -> int:
    """In a context of its own, as another request's thread has it."""
    from contextvars import Context as Empty

    def work() -> int:
        with account_context(ONE):
            return Book.objects.count() + 1

    return Empty().run(work)

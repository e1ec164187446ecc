"""The cache in django-debug-toolbar: what a page asked of it, and how often it went to Redis.

For development: `DEBUG_TOOLBAR_PANELS = [..., "caching.panel.CachingPanel"]`. Nothing else imports
this module. An answer from the process's own memory is a question without a round trip.
"""

from collections.abc import Callable
from contextvars import ContextVar, Token
from functools import wraps
from time import perf_counter
from typing import Any

from debug_toolbar.panels import Panel

from caching import counts
from caching.wire import Wire, slot_of

__all__ = ["CachingPanel"]

_current: ContextVar["CachingPanel | None"] = ContextVar("caching.panel", default=None)


class CachingPanel(Panel):
    """Questions: label, outcome, milliseconds, bytes, place. Round trips: command, place."""

    title = nav_title = "Model and fragment cache"
    template = "caching/panel.html"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.questions: list[dict[str, Any]] = []
        self.trips: list[dict[str, Any]] = []
        self._held: list[tuple[ContextVar[Any], Token[Any]]] = []

    @classmethod
    def ready(cls) -> None:
        """Once in a process that has the toolbar: every round trip passes here."""
        if not hasattr(Wire.call, "__wrapped__"):
            Wire.call = _timed(Wire.call)  # type: ignore[method-assign]

    @property
    def nav_subtitle(self) -> str:
        stats = self.get_stats()
        questions, trips = stats.get("questions", ()), stats.get("trips", ())
        hits = sum(one["outcome"] == "hit" for one in questions)
        return f"{hits} hits of {len(questions)}, {len(trips)} round trips"

    def enable_instrumentation(self) -> None:
        self._held = [(_current, _current.set(self)), (counts.heard, counts.heard.set(self._heard))]

    def disable_instrumentation(self) -> None:
        while self._held:
            variable, token = self._held.pop()
            variable.reset(token)

    def generate_stats(self, request: Any, response: Any) -> None:
        total = sum(one["milliseconds"] for one in self.trips)
        self.record_stats({"questions": self.questions, "trips": self.trips, "total": total})

    def _heard(self, label: str, outcome: str, size: int, seconds: float | None) -> None:
        milliseconds = None if seconds is None else seconds * 1000
        place = self.trips[-1]["place"] if self.trips else ""
        question = {"label": label, "outcome": outcome, "size": size, "place": place}
        self.questions.append(question | {"milliseconds": milliseconds})


def _timed(call: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(call)
    def timed(wire: Wire, command: Any, *, urgent: bool = False) -> Any:
        panel = _current.get()
        if panel is None:
            return call(wire, command, urgent=urgent)
        name, place, began = command("")[0], slot_of(command), perf_counter()
        try:
            return call(wire, command, urgent=urgent)
        finally:
            milliseconds = (perf_counter() - began) * 1000
            panel.trips.append({"command": name, "place": place, "milliseconds": milliseconds})

    return timed

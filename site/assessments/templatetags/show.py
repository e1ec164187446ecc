"""How times, results and placements are written, and the small drawings."""

from datetime import datetime
from typing import Any

from django import template
from django.urls import reverse
from django.utils import timezone
from django.utils.timesince import timesince

from accounts.models import Account
from assessments.models import TestSession
from assessments.selectors import TestFigures
from routers import SLOTS, shard_of

__all__ = ["register"]

register = template.Library()
Status = TestSession.Status


@register.filter
def ago(moment: datetime | None) -> str:
    """One unit of the time since: "3 days ago"."""
    if moment is None:
        return ""
    since = timesince(moment, depth=1)
    return "just now" if since.startswith("0") else f"{since} ago"


@register.filter
def exact(moment: datetime | None) -> str:
    """The moment in full, in UTC."""
    return timezone.localtime(moment).strftime("%Y-%m-%d %H:%M UTC") if moment else ""


@register.filter
def assessed(percent: int | None) -> str:
    """A judged percentage; what has none was not assessed."""
    return "not assessed" if percent is None else f"{percent}%"


@register.filter
def clock(seconds: int) -> str:
    """A duration as the countdown writes it: 1:29:05 or 29:05."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@register.filter
def of_status(figures: Any, status: str) -> int:
    """How many sessions of a dashboard, or of one test in it, have the status."""
    return int(figures.by_status[status])


@register.simple_tag
def placement(account: Account) -> str:
    """Where the account lives."""
    return f"account {account.pk} · slot {account.pk % SLOTS} · {shard_of(account.pk)}"


@register.inclusion_tag("parts/status_bar.html")
def status_bar(figures: TestFigures) -> dict[str, Any]:
    """One bar split by status; the numbers stand beside it in the text."""
    start, parts = 0.0, []
    for status in Status:
        share = 100 * figures.by_status[status] / (figures.sessions or 1)
        parts.append({"status": status.value, "x": f"{start:.2f}", "width": f"{share:.2f}"})
        start += share
    return {"parts": [part for part in parts if part["width"] != "0.00"]}


@register.inclusion_tag("parts/beam.html")
def beam(percent: int | None, size: str = "") -> dict[str, Any]:
    """A scale from 0 to 100 with the pivot under the percentage."""
    return {"percent": percent, "x": 6 + (percent or 0) * 1.88, "size": size}


@register.inclusion_tag("parts/field.html")
def field(bound: Any) -> dict[str, Any]:
    """A form field with its label, help and errors tied to it."""
    return {"field": bound}


@register.inclusion_tag("parts/test_link.html", takes_context=True)
def test_link(context: dict[str, Any], session: TestSession) -> dict[str, Any]:
    """The address that a candidate opens, while that is of use."""
    return {"session": session, "account": context["request"].account}


@register.simple_tag(takes_context=True)
def absolute_link(context: dict[str, Any], session: TestSession) -> str:
    """The same address in full, to be sent."""
    request = context["request"]
    path = reverse("assessments:candidate_home", args=[request.account.slug, session.code])
    return str(request.build_absolute_uri(path))

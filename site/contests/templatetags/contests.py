"""What other apps' pages say of contests."""

from datetime import timedelta
from typing import Any

from django import template

from assessments.models import TestSession
from contests.selectors import contest_of_test, public_name

__all__ = ["register"]

register = template.Library()


@register.inclusion_tag("contests/note.html")
def contest_note(session: TestSession) -> dict[str, Any]:
    """On an invitation: that it is to a contest, and what will be public of its result."""
    contest = contest_of_test(session.test_id)
    return {"contest": contest, "name": public_name(session.candidate.name)}


@register.filter
def duration(taken: timedelta) -> str:
    """48 min 05 s."""
    minutes, seconds = divmod(int(taken.total_seconds()), 60)
    return f"{minutes} min {seconds:02} s"


@register.filter
def of_key(found: dict[Any, Any], key: Any) -> Any:
    """found[key], None where it is not there."""
    return found.get(key)

"""An invitation to a contest is good between its start and its end, which ends every sitting."""

from typing import Any

from django.utils import timezone

from assessments.models import TestSession
from assessments.services import SessionClosed
from assessments.signals import session_starting
from contests.selectors import contest_of_test

__all__ = ["connect"]


def connect() -> None:
    """Called once, when the site starts."""
    session_starting.connect(hold_to_contest, dispatch_uid="contests.rules")


def hold_to_contest(sender: Any, session: TestSession, **kwargs: object) -> None:
    """Raises SessionClosed before the contest and after it."""
    contest = contest_of_test(session.test_id)
    if contest is None:
        return
    if contest.state == "ahead":
        begins = timezone.localtime(contest.starts_at).strftime("%Y-%m-%d %H:%M UTC")
        raise SessionClosed(f"{contest.name} begins at {begins}. Come back then.")
    if contest.state == "over":
        raise SessionClosed(f"{contest.name} is over. Nobody can start any more.")
    if session.deadline is None or session.deadline > contest.ends_at:
        session.deadline = contest.ends_at

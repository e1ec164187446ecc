"""What other apps are told of sessions. Both give `session`, inside its account."""

from django.dispatch import Signal

__all__ = ["session_started", "session_starting"]

session_starting = Signal()
"""About to start, inside the transaction: a receiver may change it, or raise SessionClosed."""

session_started = Signal()
"""Has started, and is committed. What a receiver raises is logged."""

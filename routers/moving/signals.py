"""What a project is told of moves."""

from django.dispatch import Signal

__all__ = ["account_moved"]

account_moved = Signal()
"""Sent with `account_id`, `source`, `target` once the account is the target's and the map says so;
again by whoever finishes a move that was killed. For caches of the account's data."""

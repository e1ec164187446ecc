"""Who a session belongs to."""

from typing import Any

from django.contrib.auth.backends import ModelBackend

from accounts.models import User
from accounts.remembered import from_row, remembered, row_of

__all__ = ["RememberedBackend"]

AUTH_HASH = "auth_hash"


class RememberedBackend(ModelBackend):
    """Django's own, but that a known user is remembered while the catalog is away."""

    def get_user(self, user_id: int) -> User | None:
        """The user, if active."""
        ask = super().get_user
        return remembered(
            f"user:{user_id}",
            lambda: ask(user_id),
            freeze=_without_password,
            thaw=_with_auth_hash,
        )


def _without_password(user: User | None) -> dict[str, Any] | None:
    """The row; instead of the password's hash the one that Django keeps in the session."""
    if user is None:
        return None
    row = row_of(user)
    del row["password"]
    return row | {AUTH_HASH: user.get_session_auth_hash()}


def _with_auth_hash(row: dict[str, Any]) -> User:
    """A user whose sessions can be told to be theirs without the password, which is not at hand."""
    user: User = from_row(User, row)
    user.get_session_auth_hash = lambda: row[AUTH_HASH]  # type: ignore[method-assign]
    user.get_session_auth_fallback_hash = lambda: iter(())  # type: ignore[method-assign]
    return user

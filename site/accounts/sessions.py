"""Sessions in the catalog, as Django keeps them; a known one is good while the catalog is away."""

import hashlib
from typing import Any

from django.contrib.sessions.backends import db

from accounts.remembered import forget, remembered

__all__ = ["SessionStore"]


class SessionStore(db.SessionStore):
    """Whoever logs out, or in, needs the catalog; whoever is logged in does not."""

    def load(self) -> dict[str, Any]:
        """The session's content. A key that is nobody's session is not remembered."""
        return remembered(
            _name(self.session_key),
            super().load,
            freeze=lambda content: dict(content) or None,
            thaw=dict,
        )

    def delete(self, session_key: str | None = None) -> None:
        """End the session, and forget it."""
        super().delete(session_key)
        forget(_name(session_key or self.session_key))


def _name(session_key: str | None) -> str:
    """Under which it is remembered: whoever reads the cache cannot log in with it."""
    return f"session:{hashlib.sha256((session_key or '').encode()).hexdigest()}"

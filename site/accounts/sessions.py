"""Sessions in the catalog, as Django keeps them; a known one is good while the catalog is away."""

import hashlib
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY
from django.contrib.sessions.backends import db
from django.utils import timezone

from accounts.remembered import forget, remembered

__all__ = ["SessionStore"]

UNDER_WAY = timedelta(minutes=1)


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

    def cycle_key(self) -> None:
        """A new key. Django asks for one too where secret_key has changed since the login.

        Other requests of the same browser are under way then, with the former one: it goes on for a
        minute. After a change of the password it does not, for what it says of that is wrong.
        """
        former, content = self.session_key, dict(self.items())
        if not (former and settings.SECRET_KEY_FALLBACKS and HASH_SESSION_KEY in content):
            return super().cycle_key()
        self.create()
        self._session_cache = content
        soon = timezone.now() + UNDER_WAY
        going = self.model.objects.filter(session_key=former, expire_date__gt=soon)
        going.update(expire_date=soon)
        return None

    def delete(self, session_key: str | None = None) -> None:
        """End the session, and forget it."""
        super().delete(session_key)
        forget(_name(session_key or self.session_key))


def _name(session_key: str | None) -> str:
    """Under which it is remembered: whoever reads the cache cannot log in with it."""
    return f"session:{hashlib.sha256((session_key or '').encode()).hexdigest()}"

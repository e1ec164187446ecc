"""What a fragment may read while it is made: what its tag names, and nothing else.

Whatever is shown must be in the key, or somebody sees what was made for another: a name, a token, a
page of a list. So a fragment is made in a context of its own that has the declared paths with the
very values that are in the key, and the variables of `uses=`. Anything else that the page's context
has is refused when it is read. What is made is searched for the visitor's secrets and name before
it is kept.
"""

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn

from django.middleware import csrf
from django.template.context import Context
from django.utils.functional import SimpleLazyObject

from routers.exceptions import RoutingError

__all__ = [
    "MISSING",
    "PERSONAL",
    "Declared",
    "FragmentError",
    "Guarded",
    "NarrowRequest",
    "Refuse",
    "declare",
    "trace_of",
]

PERSONAL = frozenset({"request", "user", "perms", "messages", "csrf_token", "csp_nonce"})
"""Never opened as a whole; a path into one of them may be declared."""
MISSING = object()
# The field itself: what people have written may hold the word, and its "<" is escaped.
CSRF_FIELD = re.compile(r"<input\b[^>]*\bname\s*=\s*[\"']?csrfmiddlewaretoken")
TOKEN = re.compile(r"(?<![A-Za-z0-9])(?:[A-Za-z0-9]{64}|[A-Za-z0-9]{32})(?![A-Za-z0-9])")
SHORTEST_NAME = 4

_matches: Callable[[str, str], bool] = csrf._does_token_match  # type: ignore[attr-defined]

Refuse = Callable[[str], NoReturn]
"""Called with what was read that must not be."""


class FragmentError(RoutingError):
    """A fragment that cannot be kept as it is written: that of `terms`."""

    terms: Any = None


class Declared(dict[str, Any]):
    """What a tag declares of one variable. Of the variable itself nothing else is known."""

    def __init__(self, path: str, refuse: Refuse) -> None:
        super().__init__()
        self._path, self._refuse = path, refuse

    def __missing__(self, name: str) -> Any:
        self._refuse(f"{self._path}.{name}")

    def __getitem__(self, name: str) -> Any:
        value = super().__getitem__(name)
        if value is MISSING:
            raise KeyError(name)
        return value

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or self.get(name) is MISSING:
            raise AttributeError(name)
        return self[name]

    def _whole(self, *args: object) -> Any:
        self._refuse(self._path)

    __bool__ = __str__ = __len__ = __iter__ = __eq__ = _whole
    __hash__ = None


def declare(values: dict[str, Any], path: str, value: Any, refuse: Refuse) -> None:
    """Make the path readable, unless the whole of what it begins with is."""
    *way, last = path.split(".")
    for at, name in enumerate(way):
        held = values.get(name, MISSING)
        if held is MISSING:
            held = values[name] = Declared(".".join(way[: at + 1]), refuse)
        if type(held) is not Declared:
            return
        values = held
    values[last] = value


class Guarded(Context):
    """A fragment's own. `hidden`: what stands around it; `piece`: the fragment that is made."""

    hidden: Sequence[Any] = ()
    piece: Any = None
    request: Any

    def __getitem__(self, key: Any) -> Any:
        try:
            return super().__getitem__(key)
        except KeyError:
            if self._is_hidden(key):
                self.piece.refuse(key)
            raise

    def get(self, key: Any, otherwise: Any = None) -> Any:
        for values in reversed(self.dicts):
            if key in values:
                return values[key]
        if not self._is_hidden(key):
            return otherwise
        if key == "csrf_token":  # every inclusion tag passes it on, and few show it
            return SimpleLazyObject(partial(self.piece.refuse, key))
        return self.piece.refuse(key)

    def new(self, values: Any = None) -> Any:
        """For an included template that sees nothing of what stands around it."""
        isolated: Any = super().new(values)
        isolated.hidden = ()
        return isolated

    def flatten(self) -> Any:
        self.piece.refuse("the whole context")

    def _is_hidden(self, key: str) -> bool:
        return any(key in values for values in self.hidden)


class NarrowRequest:
    """In place of a context's `request`: what `{% url %}` asks of it."""

    def __init__(self, current_app: str | None, refuse: Refuse) -> None:
        self.current_app, self._refuse = current_app, refuse

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        self._refuse(f"request.{name}")


def trace_of(html: str, request: Any, shown: frozenset[str] | None) -> str:
    """What HTML shows of the visitor, "" for nothing.

    `shown`: texts that are in its key; None where people's names may stand in it.
    """
    if CSRF_FIELD.search(html):
        return "a CSRF token"
    secret = getattr(request, "META", {}).get("CSRF_COOKIE")
    if secret and any(_matches(found, secret) for found in TOKEN.findall(html)):
        return "the visitor's CSRF token"
    nonce = getattr(request, "_csp_nonce", None)
    if nonce and str(nonce) in html:
        return "the request's CSP nonce"
    session = getattr(getattr(request, "session", None), "session_key", None)
    if session and session in html:
        return "the visitor's session key"
    user = getattr(request, "_cached_user", None)
    name = str(user.get_username()) if user is not None else ""
    if shown is None or name in shown or len(name) < SHORTEST_NAME or name not in html:
        return ""
    return "the visitor's name"

"""Templates with fragments, rendered as on a page of the site's."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.middleware.csrf import get_token
from django.template import Context, Engine, RequestContext

from caching.counts import outcomes
from caching.moments import reading

__all__ = [
    "END",
    "TITLES",
    "Visitor",
    "engine",
    "is_hit",
    "outcome",
    "page",
    "request_of",
    "rows",
    "show",
]

LOAD, END = "{% load fragments %}", "{% endfragment %}"
TITLES = '{% fragment "f" uses="rows" %}{% for row in rows %}{{ row.title }}{% endfor %}' + END


class Visitor:
    """A user who has logged in."""

    def __init__(self, pk: int, email: str) -> None:
        self.pk, self.email, self.is_staff = pk, email, False

    def get_username(self) -> str:
        return self.email


def engine(**templates: str) -> Engine:
    """With templates of these names; `__` stands for a dot."""
    held = {name.replace("__", "."): LOAD + text for name, text in templates.items()}
    return Engine(
        loaders=[("django.template.loaders.locmem.Loader", held)],
        libraries={"fragments": "caching.templatetags.fragments"},
        context_processors=["tests.unit.site.caching.fragment_support.visitor"],
        builtins=["django.templatetags.i18n"],
        string_if_invalid="",
    )


def visitor(request: Any) -> dict[str, Any]:
    """As the site's context processors."""
    return {"request": request, "user": request.user, "messages": ["a message"], "perms": {}}


def request_of(user: Visitor | None = None, method: str = "GET") -> HttpRequest:
    request: Any = HttpRequest()
    request.method = method
    request.user = request._cached_user = user or Visitor(1, "ann@example.com")
    get_token(request)
    return request


def page(text: str, request: Any = None, using: Engine | None = None, **values: Any) -> str:
    """The template's HTML. Without a request it is nobody's."""
    template = (using or engine()).from_string(text if "extends" in text else LOAD + text)
    context = RequestContext(request, values) if request else Context(values)
    return str(template.render(context))


def rows() -> Any:
    from tests.unit.site.caching.shelf.models import Book

    return Book.objects.no_cache().order_by("title")


def show(text: str, request: Any = None, using: Any = None, **values: Any) -> str:
    """As a page of its own, which reads whatever it shows."""
    with reading():
        return page(text, request, using, rows=rows(), **values)


def outcome(work: Callable[[], Any], name: str = "f") -> list[str]:
    """What became of the fragment while that was done."""
    outcomes.clear()
    work()
    return sorted(what for label, what in outcomes if label == f"fragment {name}")


def is_hit(text: str, *args: Any, **values: Any) -> bool:
    return outcome(lambda: show(text, *args, **values)) == ["hit"]

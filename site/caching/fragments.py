"""One fragment as it stands in one page: its key, and how it is made.

Its key and whatever it may read are taken where it stands; it is looked up, and made where it is
missing, together with the page's others: see `fragment_page`.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from copy import copy
from hashlib import blake2b
from time import perf_counter
from typing import Any, NoReturn

from caching.conf import settings
from caching.counts import took
from caching.fragment_source import digest_of_blocks, digest_of_source
from caching.fragment_terms import Terms, can_be_shown, path_of, told
from caching.guard import (
    MISSING,
    FragmentError,
    Guarded,
    NarrowRequest,
    declare,
    trace_of,
)
from caching.shapes import NotUnderstood
from caching.watched import watched
from routers.context import current_scope
from routers.replicas.unit import primary_only

__all__ = ["Piece"]


class Piece:
    """`where`: language and the like. Raises FragmentError for a tag that cannot be right there."""

    def __init__(self, terms: Terms, context: Any, where: object) -> None:
        self.terms, self.problem = terms, ""
        self.parent: Piece | None = getattr(context, "piece", None)
        self.request = self.parent.request if self.parent else _request(context)
        self.children: list[Piece] = []
        self.html: str | None = None
        self.seconds = terms.seconds or settings().seconds
        self.values: dict[str, Any] = {}
        if not terms.tables and not terms.lasting and current_scope() is None:
            raise terms.error(
                "stands on a page of no account and names no tables=, so nothing would ever tell "
                "that it is out of date. Name the tables of global models that it shows."
            )
        self._take_place(context)
        self._take_values(context, where)
        if self.parent:
            self._check_within(self.parent)
            self.parent.children.append(self)

    def refuse(self, what: str) -> NoReturn:
        """Raises FragmentError; `problem` tells of it where a template hides errors."""
        self.problem = (
            f"reads or shows {what}, on which its key does not depend. Name the path in the tag, "
            f"or what it is made from and uses=; or move it out of the fragment."
        )
        raise self.terms.error(self.problem)

    def digest(self, *circumstances: object) -> str:
        """Of everything that the HTML depends on."""
        text = repr((circumstances, self.terms.name, self.told))
        return blake2b(text.encode(), digest_size=16).hexdigest()

    def made(self) -> str:
        """Its HTML, with the marks of the fragments in it. Raises FragmentError."""
        self.children.clear()
        began = perf_counter()
        with self._watched():
            html = str(self.terms.nodelist.render(self._guarded()))
        took(self.terms.label, perf_counter() - began)
        if self.problem:
            raise self.terms.error(self.problem)
        shown = None if self.terms.names else frozenset(str(value) for _, value in self._known)
        if trace := trace_of(html, self.request, shown):
            self.refuse(trace)
        return html

    def _take_place(self, context: Any) -> None:
        """Where it stands: as Django's Context, but what the loops around it will change."""
        rendering = context.render_context
        self._rendering, self._dicts, self._at = rendering, rendering.dicts[:], rendering.template
        self._template = context.template
        self._ways = context.autoescape, context.use_l10n, context.use_tz
        self._app = _current_app(context)
        self.hidden = [*context.dicts, *getattr(context, "hidden", ())]

    def _take_values(self, context: Any, where: object) -> None:
        terms = self.terms
        self.values |= {name: terms.value(context, name) for name in terms.uses}
        known = [(path, terms.resolved(one, context)) for path, one in terms.vary]
        known += [(name, terms.resolved(one, context)) for name, one in terms.named.items()]
        self.visitor = self._visitor(context)
        if terms.visitor is not None:
            known.append((path_of(terms.visitor), self.visitor))
        try:
            values = told([*(value for _, value in known), self.visitor])
        except NotUnderstood as error:
            raise terms.error(
                f"varies on a {error}, which cannot be part of a key. Name what it is made from: "
                f"numbers, texts, dates, rows; and the variable in uses=."
            ) from None
        self.told = values, self._ways, self._app, where, *self._sources(context)
        self._known = known

    def _declare(self) -> dict[str, Any]:
        """What can be read in it."""
        values = dict(self.values)
        for path, value in self._known:
            if path and can_be_shown(value) and not (value is MISSING and "." not in path):
                declare(values, path, value, self.refuse)
        return values

    def _visitor(self, context: Any) -> Any:
        """Whose it is: what for= says, else each visitor has one of their own."""
        if self.terms.visitor is not None:
            return self.terms.resolved(self.terms.visitor, context)
        if self.parent is not None:
            return self.parent.visitor
        user = getattr(self.request, "user", None) or context.get("user")
        return user and ("user", getattr(user, "pk", None))

    def _sources(self, context: Any) -> tuple[str, str]:
        """Digests of its templates, and of what stands in the place of its blocks."""
        terms, engine = self.terms, context.template.engine
        try:
            if not terms.source:
                terms.source = digest_of_source(terms.text, list(terms.nodelist), engine)
            return terms.source, digest_of_blocks(terms.blocks, context)
        except FragmentError as error:
            raise terms.error(str(error)) from None

    def _guarded(self) -> Guarded:
        autoescape, use_l10n, use_tz = self._ways
        context = Guarded(self._declare(), autoescape, use_l10n, use_tz)
        context.hidden, context.piece, context.template = self.hidden, self, self._template
        context.render_context = rendering = copy(self._rendering)
        rendering.dicts, rendering.template = self._dicts[:], self._at
        if self.request is not None:
            context.request = NarrowRequest(self._app, self.refuse)
        return context

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """SQL, and calls of `get_token`; rows come from databases that have every commit."""
        terms, meta = self.terms, getattr(self.request, "META", {})
        sent = meta.pop("CSRF_COOKIE_NEEDS_UPDATE", None)
        try:
            with ExitStack() as stack:
                stack.enter_context(primary_only())
                stack.enter_context(watched(self.refuse, terms.tables, lasting=terms.lasting))
                yield
            if meta.get("CSRF_COOKIE_NEEDS_UPDATE"):
                self.refuse("a CSRF token")
        finally:
            if sent is not None:
                meta["CSRF_COOKIE_NEEDS_UPDATE"] = sent

    def _check_within(self, parent: "Piece") -> None:
        """What makes this one invalid must make the one around it invalid too."""
        terms, around = self.terms, parent.terms
        if around.lasting and not terms.lasting:
            parent.refuse(f"{terms}, which does not last,")
        if not terms.tables <= around.tables:
            parent.refuse(f"the tables of {terms}")
        if terms.names and not around.names:
            parent.refuse(f"the names in {terms}")
        parent.seconds = min(parent.seconds, self.seconds)


def _request(context: Any) -> Any:
    return getattr(context, "request", None) or context.get("request")


def _current_app(context: Any) -> str | None:
    """As `{% url %}` finds it."""
    request = getattr(context, "request", None)
    try:
        return request.current_app  # type: ignore[union-attr]
    except AttributeError:
        match = getattr(request, "resolver_match", None)
        return getattr(match, "namespace", None)

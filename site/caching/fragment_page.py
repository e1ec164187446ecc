"""The fragments of a page, or of a part of it, in one round trip.

While the page is rendered each fragment leaves a mark. Then all are looked up at once, what is
missing is made, and so on with the fragments in those; at last the marks are replaced, and what was
made is kept at once. A fragment around others that has gone is so put together from theirs.

A mark that is not found again was changed by what stands around it (a filter, `{% spaceless %}`) or
was thrown away; then that part is rendered once more, its fragments one after the other.
"""

import logging
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings as django_settings
from django.utils.safestring import SafeString, mark_safe
from django.utils.timezone import get_current_timezone_name
from django.utils.translation import get_language

from caching.conf import settings
from caching.counts import count
from caching.fragment_looks import Kept, keep, look_up
from caching.fragment_terms import Terms
from caching.fragments import Piece
from caching.guard import FragmentError
from routers.context import current_scope

__all__ = ["show", "show_together"]

PAGE = "caching.fragments"
logger = logging.getLogger(__name__)


def show(terms: Terms, context: Any) -> str:
    """A fragment's HTML, or its mark on a page whose fragments wait for each other."""
    if not _is_used():
        return terms.rendered(context)
    page = _bottom(context).get(PAGE)
    if page is not None and page.is_here():
        return _mark_or_html(page, terms, context)
    return show_together(context, lambda: _mark_or_html(_bottom(context)[PAGE], terms, context))


def show_together(context: Any, render: Callable[[], str]) -> str:
    """What `render` makes, its fragments looked up together."""
    if not _is_used():
        return render()
    bottom = _bottom(context)
    while True:
        with _installed(bottom, Page(bottom)) as page:
            try:
                return mark_safe(page.whole(render))  # noqa: S308 - a template's output
            except FragmentError as error:
                if _is_strict() or hasattr(context, "piece"):
                    raise
                error.terms.refused = True
                logger.error("%s It is not kept.", error)


class Page:
    """What waits to be looked up and made."""

    def __init__(self, bottom: dict[str, Any]) -> None:
        self.bottom, self.circumstances = bottom, _circumstances()
        self.begin, self.end = f"<i>{secrets.token_hex(8)} aZ\n</i> <i>", "</i>"
        self.pieces: list[Piece] = []
        self.waiting: list[int] = []
        self.kept: dict[Piece, Kept] = {}

    def is_here(self) -> bool:
        """Whether a fragment that waits will find account, language and time zone as they are."""
        return self.circumstances == _circumstances()

    def mark(self, piece: Piece) -> SafeString:
        """What stands in the page until it is whole. Any filter would change some of it."""
        self.waiting.append(len(self.pieces))
        self.pieces.append(piece)
        return mark_safe(self._mark(len(self.pieces) - 1))  # noqa: S308 - made of digits

    def whole(self, render: Callable[[], str]) -> str:
        """What `render` makes, with every fragment in its place."""
        html = self._marked(render)
        while self.waiting:
            wave, self.waiting = [self.pieces[at] for at in self.waiting], []
            if settings().enabled:
                self.kept |= look_up(wave)
            for piece in wave:
                if piece.html is None:
                    piece.html = self._marked(piece.made)
        if self.kept:
            keep(self.kept, {piece: self._filled(piece.html or "") for piece in self.kept})
        return self._filled(html)

    def _marked(self, render: Callable[[], str]) -> str:
        """What `render` makes, where all marks that it has set can be found."""
        first, waiting = len(self.pieces), len(self.waiting)
        html = render()
        if all(self._mark(at) in html for at in range(first, len(self.pieces))):
            return html
        del self.waiting[waiting:]
        with _installed(self.bottom, None):
            return render()

    def _mark(self, at: int) -> str:
        return f"{self.begin}{at}{self.end}"

    def _filled(self, html: str) -> str:
        first, *rest = html.split(self.begin)
        parts = [first]
        for one in rest:
            at, _, after = one.partition(self.end)
            parts += [self._filled(self.pieces[int(at)].html or ""), after]
        return "".join(parts)


def _mark_or_html(page: Page, terms: Terms, context: Any) -> str:
    if terms.refused:
        count(terms.label, "refused")
        return terms.rendered(context)
    return page.mark(Piece(terms, context, page.circumstances[1:]))


@contextmanager
def _installed(bottom: dict[str, Any], page: Any) -> Iterator[Any]:
    """Every context of a rendering shares what lies at its bottom."""
    before = bottom.get(PAGE)
    bottom[PAGE] = page
    try:
        yield page
    finally:
        bottom[PAGE] = before


def _bottom(context: Any) -> dict[str, Any]:
    found: dict[str, Any] = context.render_context.dicts[0]
    return found


def _circumstances() -> tuple[object, ...]:
    """What a fragment that is made later finds as it was."""
    return current_scope(), get_language(), get_current_timezone_name()


def _is_used() -> bool:
    return settings().enabled or _is_strict()


def _is_strict() -> bool:
    told = settings().strict
    return django_settings.DEBUG if told is None else told

"""The HTML of a board, made once for everybody: it has nothing of whoever asks."""

from collections import OrderedDict

from django.template.loader import render_to_string

from contests.models import Contest
from prepared import Answer

__all__ = ["rendered"]

KEPT = 32


class _Pages:
    """(template, digest of the answer) → HTML, of this process. The oldest go."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str], str] = OrderedDict()

    def get(self, template: str, answer: Answer) -> str:
        known = self._kept.get((template, answer.digest))
        if known is not None:
            return known
        made = render_to_string(template, {"board": answer.value, "it": answer.value})
        self._kept[template, answer.digest] = made
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return made


_pages = _Pages()


def rendered(template: str, answer: Answer, contest: Contest | None = None) -> str:
    """The template with `board`; without one, with `state`. `it` is what knows the contest."""
    if answer.is_there:
        return _pages.get(template, answer)
    return render_to_string(template, {"it": contest, "state": answer.state.value})

"""The heads of the sessions table, and the links that order it."""

from collections.abc import Mapping
from dataclasses import dataclass

from django.utils.http import urlencode

from assessments.selectors import SessionFilter

__all__ = ["ColumnHead", "column_heads"]

# label, name of the order in the URL ("": none), whether the first click descends
COLUMNS = (
    ("Name", "name", False),
    ("Test", "test", False),
    ("Created", "created", True),
    ("Taken", "taken", True),
    ("Status", "status", False),
    ("Invitation", "", False),
    ("Result", "result", True),
    ("Test link", "", False),
    ("Similarity", "similarity", True),
)


@dataclass(frozen=True)
class ColumnHead:
    """`link` orders by the column; `aria_sort` is set where the table is in that order."""

    label: str
    link: str = ""
    aria_sort: str = ""


def column_heads(query: Mapping[str, str], wanted: SessionFilter) -> list[ColumnHead]:
    """The nine heads for a request's query; an order starts again at its first page."""
    kept = {k: v for k, v in query.items() if v and k not in ("after", "before", "sort")}
    return [_head(label, name, first, kept, wanted) for label, name, first in COLUMNS]


def _head(
    label: str, name: str, first: bool, kept: Mapping[str, str], wanted: SessionFilter
) -> ColumnHead:
    if not name:
        return ColumnHead(label)
    in_force = wanted.sort == name
    descending = not wanted.descending if in_force else first
    link = f"?{urlencode({**kept, 'sort': f'-{name}' if descending else name})}"
    if not in_force:
        return ColumnHead(label, link)
    return ColumnHead(label, link, "descending" if wanted.descending else "ascending")

"""The operators' runbooks, chapter by chapter, where the site has them beside it.

A checkout has ansible/RUNBOOKS.md; a release has it where `infra.release` packs it.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.utils.html import escape
from django.utils.safestring import mark_safe

__all__ = ["Chapter", "chapters"]

CODE = re.compile(r"(```.*?```|`[^`]+`)", re.DOTALL)
LINK = re.compile(r"\[([^\]]+)\]\((#[a-z0-9-]+)\)")
BOLD = re.compile(r"\*\*([^*]+)\*\*")


@dataclass(frozen=True)
class Chapter:
    """A chapter. `anchor` is GitHub's for its title, which alerts name."""

    title: str
    anchor: str
    text: str

    @property
    def html(self) -> str:
        """The text, its lines as they are, with code, bold words and links between chapters."""
        return mark_safe("".join(map(_marked, CODE.split(self.text))))  # noqa: S308 - all escaped


def chapters() -> list[Chapter]:
    """All chapters in order, what stands before the first as one; none without the file."""
    try:
        text = path().read_text()
    except OSError:
        return []
    first, *others = re.split(r"^## +", text, flags=re.MULTILINE)
    found = [_chapter(part) for part in others]
    return [_chapter(first.removeprefix("# ")), *found]


def path() -> Path:
    """Where the file would be."""
    return Path(settings.SITE).parent / "ansible" / "RUNBOOKS.md"


def _chapter(part: str) -> Chapter:
    title, _, text = part.partition("\n")
    anchor = re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")
    return Chapter(title.strip(), anchor, text.strip())


def _marked(part: str) -> str:
    if part.startswith("```"):
        return f"<code>{escape(part.strip('`').partition(chr(10))[2].rstrip())}</code>"
    if part.startswith("`"):
        return f"<code>{escape(part.strip('`'))}</code>"
    return BOLD.sub(r"<strong>\1</strong>", LINK.sub(r'<a href="\2">\1</a>', escape(part)))

"""The style sheet's colours are far enough apart for everybody, in both schemes (WCAG 2, AA)."""

import re
from pathlib import Path

import pytest
from django.conf import settings

TEXT, DRAWING = 4.5, 3.0
GROUNDS = ("paper", "sheet", "tint")
PAIRS = [
    *(
        (ink, ground, TEXT)
        for ink in ("ink", "soft", "action", "action-over")
        for ground in GROUNDS
    ),
    *((ink, "mast", TEXT) for ink in ("mast-ink", "mast-soft", "mast-brass")),
    ("action-ink", "action", TEXT),
    ("action-ink", "action-over", TEXT),
    ("good", "good-tint", TEXT),
    *(("bad", ground, TEXT) for ground in ("bad-tint", "sheet", "paper")),
    *(("brass", ground, DRAWING) for ground in GROUNDS),
    *((mark, "sheet", DRAWING) for mark in ("strong-line", "started", "finished", "closed")),
]


def colours() -> dict[str, dict[str, str]]:
    """The custom properties of each scheme; dark changes some of light's."""
    sheet = (Path(settings.STATICFILES_DIRS[0]) / "fulcrum.css").read_text()
    light, dark = re.findall(r":root \{(.*?)\}", sheet, re.DOTALL)[:2]
    given = [dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", text)) for text in (light, dark)]
    return {"light": given[0], "dark": given[0] | given[1]}


def luminance(colour: str) -> float:
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("ink", "ground", "least"), PAIRS)
def test_contrast(ink: str, ground: str, least: float, scheme: str) -> None:
    named = colours()[scheme]
    darker, lighter = sorted((luminance(named[ink]), luminance(named[ground])))
    assert (lighter + 0.05) / (darker + 0.05) >= least

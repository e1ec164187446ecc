"""Where countries are: one place in each, as the time zone database gives it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources

from front.world import project

__all__ = ["Place", "place_of"]

# Where the database's first zone of a country is a far corner of it.
LARGEST = {
    "AU": "Australia/Sydney",
    "BR": "America/Sao_Paulo",
    "CA": "America/Toronto",
    "RU": "Europe/Moscow",
}
DEGREES = re.compile(r"([+-])(\d{2})(\d{2})(?:\d{2})?([+-])(\d{3})(\d{2})(?:\d{2})?")


@dataclass(frozen=True)
class Place:
    """A country's name, and a point of it on the map."""

    name: str
    x: float
    y: float


def place_of(country: str) -> Place | None:
    """By the code of ISO 3166; None for one that is not in the database."""
    return _places().get(country)


@cache
def _places() -> dict[str, Place]:
    names = dict(row[:2] for row in _rows("iso3166.tab"))
    points: dict[str, tuple[float, float]] = {}
    for code, where, zone, *_ in _rows("zone.tab"):
        if LARGEST.get(code, zone) == zone:
            points.setdefault(code, _point(where))
    return {code: Place(names[code], *at) for code, at in points.items() if code in names}


def _point(where: str) -> tuple[float, float]:
    """ISO 6709, ±DDMM±DDDMM with seconds or without."""
    found = DEGREES.fullmatch(where)
    assert found, where  # noqa: S101 - the database's own format
    north, *latitude, east, degrees, minutes = found.groups()
    return project(
        float(f"{east}{int(degrees) + int(minutes) / 60}"),
        float(f"{north}{int(latitude[0]) + int(latitude[1]) / 60}"),
    )


def _rows(name: str) -> Iterator[list[str]]:
    table = resources.files("tzdata.zoneinfo").joinpath(name).read_text("utf-8")
    return (row.split("\t") for row in table.splitlines() if row and not row.startswith("#"))

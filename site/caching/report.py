"""What the cache was good for, by label: a model's or a fragment's name."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from caching.counts import COMPUTED, Key, Tally, saved

__all__ = ["Line", "lines", "size", "table"]


@dataclass(frozen=True)
class Line:
    """One label. Milliseconds are means, None where none was timed.

    `read_bytes`: of hits. `written_bytes`: of entries that were made. `saved_milliseconds`: of all
    hits together, by the formula in `caching.counts`.
    """

    label: str
    hits: int
    stale: int
    misses: int
    busy: int
    off: int
    away: int
    not_kept: int
    read_bytes: int
    written_bytes: int
    hit_milliseconds: float | None
    computed_milliseconds: float | None
    saved_milliseconds: float | None

    @property
    def asked(self) -> int:
        return (
            self.hits + self.stale + self.misses + self.busy + self.off + self.away + self.not_kept
        )

    @property
    def hit_rate(self) -> float | None:
        return (self.hits + self.stale) / self.asked if self.asked else None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"asked": self.asked, "hit_rate": self.hit_rate}


def lines(found: dict[Key, Tally]) -> list[Line]:
    """A line a label, those first that saved most."""
    labels = {label for label, _ in found}
    made = [_line(label, found) for label in labels]
    return sorted(made, key=lambda line: (-(line.saved_milliseconds or 0.0), line.label))


def _line(label: str, found: dict[Key, Tally]) -> Line:
    def of(outcome: str) -> Tally:
        return found.get((label, outcome), Tally())

    gained = saved(of("hit"), of(COMPUTED))
    return Line(
        label=label,
        hits=of("hit").times,
        stale=of("stale").times,
        misses=of("miss").times,
        busy=of("busy").times,
        off=of("off").times,
        away=of("away").times,
        not_kept=of("not plain").times,
        read_bytes=of("hit").size,
        written_bytes=of("miss").size,
        hit_milliseconds=_mean(of("hit")),
        computed_milliseconds=_mean(of(COMPUTED)),
        saved_milliseconds=None if gained is None else gained * 1000,
    )


def _mean(tally: Tally) -> float | None:
    return tally.seconds / tally.timed * 1000 if tally.timed else None


def table(found: Sequence[Line]) -> Table:
    """For a terminal of 80 columns; `?` for what is not known."""
    heads = ("label", "asked", "hits", "past it", "read", "written", "hit", "made", "saved")
    made = Table(*heads, box=None, pad_edge=False, header_style="bold", collapse_padding=True)
    for number, column in enumerate(made.columns):
        column.justify = "right" if number else "left"
        column.no_wrap = number > 0
        column.overflow = "fold"
    for line in found:
        made.add_row(
            line.label,
            f"{line.asked:,}",
            "?" if line.hit_rate is None else f"{line.hit_rate:.1%}",
            f"{line.busy + line.off + line.away:,}",
            size(line.read_bytes),
            size(line.written_bytes),
            _time(line.hit_milliseconds),
            _time(line.computed_milliseconds),
            _time(line.saved_milliseconds),
        )
    return made


def size(number: float) -> str:
    """Of bytes."""
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}"
        number /= 1024
    return f"{number:,.1f} GB"


def _time(milliseconds: float | None) -> str:
    if milliseconds is None:
        return "?"
    if abs(milliseconds) < 1000:
        return f"{milliseconds:.2f} ms"
    return f"{milliseconds / 1000:,.0f} s"

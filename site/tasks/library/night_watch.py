"""Night watch: the fewest intervals that cover a span."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from random import Random

from tasks.library import draw
from tasks.library.base import Problem, correctness, performance, write_statement
from tasks.library.checks import parse_integers

LONGEST = 1_000_000_000_000
EXAMPLE = ("5 12\n7 12\n0 4\n-3 5\n4 8\n5 7", "3 4 1")

Span = tuple[int, int]


def solve(case_input: str) -> str:
    """The guards of a smallest watch, or -1: always the one who stays longest of those in time."""
    end, spans = _read(case_input)
    by_start = sorted(range(len(spans)), key=lambda i: spans[i][0])
    chosen: list[int] = []
    covered, following = 0, 0
    while covered < end:
        best = -1
        while following < len(spans) and spans[by_start[following]][0] <= covered:
            guard = by_start[following]
            if best < 0 or spans[guard][1] > spans[best][1]:
                best = guard
            following += 1
        if best < 0 or spans[best][1] <= covered:
            return "-1"
        covered = spans[best][1]
        chosen.append(best + 1)
    return draw.row(chosen)


def check(case_input: str, submitted: str, expected: str) -> bool:
    """Any watch without a gap that is as small as the reference's; -1 where there is none."""
    end, spans = _read(case_input)
    guards = parse_integers(submitted, at_most=len(spans))
    if guards is None or expected == "-1":
        return guards == [-1]
    if len(guards) != len(expected.split()) or not all(1 <= g <= len(spans) for g in guards):
        return False
    return _covers(end, [spans[guard - 1] for guard in guards])


def _covers(end: int, spans: Iterable[Span]) -> bool:
    covered = 0
    for start, stop in sorted(spans):
        if start > covered:
            return False
        covered = max(covered, stop)
    return covered >= end


def _read(case_input: str) -> tuple[int, list[Span]]:
    _, end, *numbers = (int(token) for token in case_input.split())
    return end, list(zip(numbers[::2], numbers[1::2], strict=True))


def _case(end: int, spans: Sequence[Span]) -> str:
    return "\n".join([f"{len(spans)} {end}", *(f"{start} {stop}" for start, stop in spans)])


def _random(rng: Random, size: int) -> str:
    starts, lengths = draw.integers(rng, size, -2, 7), draw.integers(rng, size, 1, 6)
    return _case(8, [(s, s + n) for s, n in zip(starts, lengths, strict=True)])


def _alone(rng: Random, size: int) -> str:
    end = draw.integer(rng, 1, LONGEST)
    return _case(end, [(-draw.integer(rng, 0, 9), end + n) for n in range(size)])


def _too_short(rng: Random, size: int) -> str:
    """Everybody leaves one minute early."""
    end = draw.integer(rng, 2, LONGEST)
    return _case(end, [(-n, end - 1) for n in range(size)])


def _relay(rng: Random, size: int) -> str:
    """Each guard comes in the very minute in which another one leaves: all are needed."""
    lengths = draw.integers(rng, size, 1, 1000)
    stops = [sum(lengths[: n + 1]) for n in range(size)]
    return _case(stops[-1], draw.shuffled(rng, pairwise([0, *stops])))


def _overlapping(rng: Random, size: int, end: int) -> list[Span]:
    """A third of the guards share the night with overlaps, the others help for a short while."""
    cuts = sorted({0, end, *draw.integers(rng, size // 3 - 1, 1, end - 1)})
    pieces = list(pairwise(cuts))
    mean = end // len(pieces)
    late = draw.integers(rng, len(pieces), 0, mean)
    shared = [(a - extra // 2, b + extra) for (a, b), extra in zip(pieces, late, strict=True)]
    starts = draw.integers(rng, size - len(shared), 0, end - 1)
    lengths = draw.integers(rng, size - len(shared), 1, mean)
    helpers = [(s, s + n) for s, n in zip(starts, lengths, strict=True)]
    return draw.shuffled(rng, shared + helpers)


def _short_night(rng: Random, size: int) -> str:
    return _case(1000, _overlapping(rng, size, 1000))


def _long_night(rng: Random, size: int) -> str:
    return _case(LONGEST, _overlapping(rng, size, LONGEST))


def _hole(rng: Random, size: int) -> str:
    """Nobody is there for one single minute."""
    minute = draw.integer(rng, LONGEST // 2, LONGEST - 2)
    spans = _overlapping(rng, size, LONGEST)
    return _case(LONGEST, [_without(minute, span) for span in spans])


def _without(minute: int, span: Span) -> Span:
    """A span that leaves out what lies between `minute` and the next."""
    start, stop = span
    if stop <= minute or start > minute:
        return span
    return (start, minute) if start < minute else (minute + 1, max(stop, minute + 2))


PROBLEM = Problem(
    slug="night-watch",
    title="Night watch",
    difficulty="medium",
    minutes=40,
    statement=write_statement(
        story=(
            "A gate must be guarded throughout a night, from minute 0 to minute L. Each of N "
            "volunteers offers to stand there from some minute S to some minute E, and nobody "
            "can split an offer. Where one guard leaves in the minute in which another comes, "
            "there is no gap. Choose as few guards as possible.",
        ),
        case_input=(
            "A line with the integers N and L: the number of volunteers and the last minute.",
            "N lines with the integers S and E each: the offers of the volunteers 1 to N.",
        ),
        case_output=(
            "The numbers of the chosen volunteers on one line, separated by spaces, in any "
            "order. Any choice is right that leaves no gap and is as small as possible. Or -1 if "
            "even all of them together leave a gap.",
        ),
        constraints=(
            "1 ≤ N ≤ 25,000",
            "1 ≤ L ≤ 1,000,000,000,000",
            "-2,000,000,000,000 ≤ S < E ≤ 2,000,000,000,000",
        ),
        example=EXAMPLE,
        explanation=(
            "Volunteer 3 guards until minute 5, volunteer 4 from 4 to 8, and volunteer 1 from 7 "
            "to the end. Two guards cannot do it. The answer 3 5 1 is right as well: volunteer 5 "
            "comes as 3 leaves, and leaves as 1 comes."
        ),
    ),
    example_input=EXAMPLE[0],
    example_output=EXAMPLE[1],
    recipes=(
        correctness("one guard is enough", 1, _alone),
        correctness("any one is enough", 20, _alone),
        correctness("one minute too short", 15, _too_short),
        correctness("random", 10, _random),
        correctness("a relay", 40, _relay),
        correctness("overlaps", 80, _short_night),
        correctness("a long night", 90, _long_night),
        correctness("a hole of one minute", 70, _hole),
        performance("large, overlaps", 15_000, _long_night),
        performance("large, overlaps, more", 20_000, _long_night),
        performance("large, most volunteers", 25_000, _long_night),
        performance("large, a hole of one minute", 20_000, _hole),
    ),
    solve=solve,
    check=check,
)

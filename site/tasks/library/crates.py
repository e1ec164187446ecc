"""Nested crates: the longest chain of pairs that grow in both measures."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from random import Random

from tasks.library import draw
from tasks.library.base import Problem, correctness, performance, write_statement
from tasks.library.checks import same_integer

LARGEST = 1_000_000_000
EXAMPLE = ("6\n4 6\n2 3\n5 4\n7 8\n5 8\n4 7", "3")


def solve(case_input: str) -> str:
    """The longest chain.

    Sorted by width, and of one width the higher first, a chain is a strictly increasing
    subsequence of the heights; `ends[k]` is the lowest height that a chain of k + 1 can end with.
    """
    numbers = draw.read_array(case_input)
    crates = sorted(zip(numbers[::2], (-h for h in numbers[1::2]), strict=True))
    ends: list[int] = []
    for _, negative in crates:
        place = bisect_left(ends, -negative)
        ends[place : place + 1] = [-negative]
    return str(len(ends))


def _case(crates: Iterable[tuple[int, int]]) -> str:
    lines = [f"{width} {height}" for width, height in crates]
    return "\n".join([str(len(lines)), *lines])


def _drawn(rng: Random, size: int, low: int, high: int) -> str:
    widths, heights = (draw.integers(rng, size, low, high) for _ in range(2))
    return _case(zip(widths, heights, strict=True))


def _random(rng: Random, size: int) -> str:
    return _drawn(rng, size, 1, 6)


def _wide(rng: Random, size: int) -> str:
    return _drawn(rng, size, 1, LARGEST)


def _crowded(rng: Random, size: int) -> str:
    """Few different measures, so many crates share one."""
    return _drawn(rng, size, 1, int(size**0.5) + 5)


def _same(rng: Random, size: int) -> str:
    width, height = draw.integers(rng, 2, 1, LARGEST)
    return _case([(width, height)] * size)


def _one_width(rng: Random, size: int) -> str:
    width = draw.integer(rng, 1, LARGEST)
    return _case((width, height) for height in draw.integers(rng, size, 1, LARGEST))


def _all_nested(rng: Random, size: int) -> str:
    return _case(draw.shuffled(rng, ((7 * n + 1, 3 * n + 2) for n in range(size))))


def _none_nested(rng: Random, size: int) -> str:
    return _case(draw.shuffled(rng, ((n + 1, size - n) for n in range(size))))


def _along_a_line(rng: Random, size: int) -> str:
    """Wide crates are high, more or less: long chains, and many of them."""
    widths = draw.integers(rng, size, 1, LARGEST // 2)
    extra = draw.integers(rng, size, 0, LARGEST // 50)
    return _case((w, w + e) for w, e in zip(widths, extra, strict=True))


PROBLEM = Problem(
    slug="nested-crates",
    title="Nested crates",
    difficulty="hard",
    minutes=50,
    statement=write_statement(
        story=(
            "A warehouse wants to save space by putting crates into crates. All crates have the "
            "same depth and stay upright and unturned, so a crate fits into another one exactly "
            "if both its width and its height are smaller; equal is not enough. A crate holds "
            "one other crate directly, which may hold another one, and so on. How many crates "
            "can disappear into a single nest, the outermost included?",
        ),
        case_input=(
            "A line with the integer N, the number of crates.",
            "N lines with two integers each: a crate's width and its height.",
        ),
        case_output=("The largest number of crates in one nest.",),
        constraints=(
            "1 ≤ N ≤ 30,000",
            "each width and height is between 1 and 1,000,000,000",
        ),
        example=EXAMPLE,
        explanation=(
            "For instance, the crate of 2 by 3 goes into that of 4 by 6, which goes into that of "
            "5 by 8. The one of 7 by 8 cannot hold the nest: it is wider, but no higher."
        ),
    ),
    example_input=EXAMPLE[0],
    example_output=EXAMPLE[1],
    recipes=(
        correctness("single crate", 1, _wide),
        correctness("random", 20, _random),
        correctness("all the same", 30, _same),
        correctness("one width", 50, _one_width),
        correctness("all fit", 60, _all_nested),
        correctness("none fits", 60, _none_nested),
        correctness("many equal measures", 90, _crowded),
        correctness("extreme values", 120, _wide),
        performance("large, random", 20_000, _wide),
        performance("large, many equal measures", 25_000, _crowded),
        performance("large, long nests", 25_000, _along_a_line),
        performance("largest, long nests", 30_000, _along_a_line),
    ),
    solve=solve,
    check=same_integer,
)

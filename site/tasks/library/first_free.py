"""The first free number: the smallest positive integer that an array lacks."""

from __future__ import annotations

from random import Random

from tasks.library import draw
from tasks.library.base import Problem, correctness, performance, write_statement
from tasks.library.checks import same_integer

LARGEST = 1_000_000_000_000
EXAMPLE = ("6\n3 -4 1 7 2 1", "4")


def solve(case_input: str) -> str:
    """The smallest positive integer that is not in the array."""
    taken = set(draw.read_array(case_input))
    number = 1
    while number in taken:
        number += 1
    return str(number)


def _random(rng: Random, size: int) -> str:
    return draw.array(draw.integers(rng, size, -2, size + 1))


def _just_one(rng: Random, size: int) -> str:
    return draw.array([1] * size)


def _not_positive(rng: Random, size: int) -> str:
    return draw.array(draw.integers(rng, size, -LARGEST, 0))


def _full_house(rng: Random, size: int) -> str:
    """Every number up to some N, which is `size` or a little less."""
    count = size - draw.integer(rng, 0, size // 10)
    return draw.array(draw.shuffled(rng, range(1, count + 1)))


def _one_gap(rng: Random, size: int) -> str:
    gap = draw.integer(rng, size // 2, size)
    return draw.array(draw.shuffled(rng, (n for n in range(1, size + 2) if n != gap)))


def _duplicates(rng: Random, size: int) -> str:
    distinct = draw.integer(rng, size // 4, size // 2)
    extra = draw.integers(rng, size - distinct, 1, distinct)
    return draw.array(draw.shuffled(rng, [*range(1, distinct + 1), *extra]))


def _extremes(rng: Random, size: int) -> str:
    """A run from 1 among values too far apart for a table of flags."""
    run = draw.integer(rng, size // 3, 2 * size // 3)
    far = draw.integers(rng, size - run, -LARGEST, LARGEST)
    return draw.array(draw.shuffled(rng, [*range(1, run + 1), *far]))


PROBLEM = Problem(
    slug="first-free-number",
    title="The first free locker",
    difficulty="easy",
    minutes=15,
    statement=write_statement(
        story=(
            "The lockers of a swimming pool are numbered 1, 2, 3 and so on, without end. At the "
            "desk lies a heap of notes, one for every locker handed out. Some lockers were noted "
            "twice, and some notes are nonsense: 0, negative, or far too large. Tell the next "
            "guest the lowest locker number that is on no note.",
        ),
        case_input=(
            "A line with the integer N, the number of notes.",
            "A line with N integers: what the notes say.",
        ),
        case_output=("The smallest positive integer that is on no note.",),
        constraints=(
            "1 ≤ N ≤ 50,000",
            "each note is between -1,000,000,000,000 and 1,000,000,000,000",
        ),
        example=EXAMPLE,
        explanation="The lockers 1, 2 and 3 are taken, 4 is free. That 7 is taken does not matter.",
    ),
    example_input=EXAMPLE[0],
    example_output=EXAMPLE[1],
    recipes=(
        correctness("only locker 1", 1, _just_one),
        correctness("nothing positive", 30, _not_positive),
        correctness("random", 25, _random),
        correctness("no gap", 60, _full_house),
        correctness("one gap", 70, _one_gap),
        correctness("duplicates", 80, _duplicates),
        correctness("extreme values", 90, _extremes),
        performance("large, no gap", 40_000, _full_house),
        performance("large, one gap", 50_000, _one_gap),
        performance("large, duplicates", 50_000, _duplicates),
        performance("large, extreme values", 50_000, _extremes),
    ),
    solve=solve,
    check=same_integer,
)

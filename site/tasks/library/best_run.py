"""The best run: the largest sum of consecutive elements."""

from __future__ import annotations

from random import Random

from tasks.library import draw
from tasks.library.base import Problem, correctness, performance, write_statement
from tasks.library.checks import same_integer

LARGEST = 1_000_000_000
EXAMPLE = ("8\n-3 5 -2 4 -9 6 1 -1", "7")


def solve(case_input: str) -> str:
    """The best sum over all runs, by the best sum of a run that ends here."""
    values = draw.read_array(case_input)
    best = ending = values[0]
    for value in values[1:]:
        ending = value + ending if ending > 0 else value
        if ending > best:
            best = ending
    return str(best)


def _random(rng: Random, size: int) -> str:
    return draw.array(draw.integers(rng, size, -5, 5))


def _wide(rng: Random, size: int) -> str:
    return draw.array(draw.integers(rng, size, -LARGEST, LARGEST))


def _negative(rng: Random, size: int) -> str:
    return draw.array(draw.integers(rng, size, -LARGEST, -1))


def _positive(rng: Random, size: int) -> str:
    """Every day counts: the sum leaves 32 bits."""
    return draw.array([LARGEST - n for n in draw.integers(rng, size, 0, 99)])


def _two_seasons(rng: Random, size: int) -> str:
    """Two good seasons and a loss between them that may or may not be worth bridging."""
    third = size // 3
    first, second = (draw.integers(rng, third, -40, 100) for _ in range(2))
    gap = draw.integers(rng, size - 2 * third, -60, 0)
    return draw.array([*first, *gap, *second])


def _zeros_and_losses(rng: Random, size: int) -> str:
    values = draw.integers(rng, size, -9, 0)
    values[draw.integer(rng, 0, size - 1)] = 0
    return draw.array(values)


PROBLEM = Problem(
    slug="best-run",
    title="The best run of days",
    difficulty="easy",
    minutes=20,
    statement=write_statement(
        story=(
            "A mountain railway wrote down its profit of every day; on bad days it is a loss, a "
            "negative number. For the annual report it wants the most flattering period: some "
            "consecutive days, at least one, whose profits add up to as much as possible.",
        ),
        case_input=(
            "A line with the integer N, the number of days.",
            "A line with N integers: the profit of each day, in order.",
        ),
        case_output=("The largest sum that a period of one or more consecutive days has.",),
        constraints=(
            "1 ≤ N ≤ 50,000",
            "each profit is between -1,000,000,000 and 1,000,000,000",
        ),
        example=EXAMPLE,
        explanation=(
            "The days with 6 and 1 make 7. The days 5, -2 and 4 also make 7, and no period makes "
            "more. If all days were losses, the answer would be the smallest loss, not 0."
        ),
    ),
    example_input=EXAMPLE[0],
    example_output=EXAMPLE[1],
    recipes=(
        correctness("single element", 1, _wide),
        correctness("single loss", 1, _negative),
        correctness("random", 40, _random),
        correctness("losses only", 50, _negative),
        correctness("profits only", 70, _positive),
        correctness("nothing better than zero", 45, _zeros_and_losses),
        correctness("two seasons", 90, _two_seasons),
        correctness("extreme values", 200, _wide),
        performance("large, random", 30_000, _wide),
        performance("large, two seasons", 40_000, _two_seasons),
        performance("large, losses only", 50_000, _negative),
        performance("large, profits only", 50_000, _positive),
    ),
    solve=solve,
    check=same_integer,
)

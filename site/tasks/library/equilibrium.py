"""The equilibrium index: any place where both sides of an array weigh the same."""

from __future__ import annotations

from random import Random

from tasks.library import draw
from tasks.library.base import Problem, correctness, performance, write_statement
from tasks.library.checks import parse_integer

LARGEST = 2_000_000_000
EXAMPLE = ("7\n4 -2 5 1 3 4 0", "3")


def solve(case_input: str) -> str:
    """The first equilibrium index, or -1."""
    values = draw.read_array(case_input)
    total, left = sum(values), 0
    for index, value in enumerate(values):
        if 2 * left + value == total:
            return str(index)
        left += value
    return "-1"


def check(case_input: str, submitted: str, expected: str) -> bool:
    """Any equilibrium index; -1 where there is none."""
    index, values = parse_integer(submitted), draw.read_array(case_input)
    if index is None or expected == "-1":
        return index == -1
    return 0 <= index < len(values) and sum(values[:index]) == sum(values[index + 1 :])


def _random(rng: Random, size: int) -> str:
    return draw.array(draw.integers(rng, size, -3, 3))


def _single(rng: Random, size: int) -> str:
    return draw.array(draw.integers(rng, size, -LARGEST, LARGEST))


def _planted(rng: Random, size: int) -> str:
    """An equilibrium in the middle third, with values of both signs."""
    place = draw.integer(rng, size // 3, 2 * size // 3)
    left = draw.integers(rng, place, -400_000_000, 500_000_000)
    right = _adding_up_to(rng, sum(left), size - place - 1)
    return draw.array([*left, draw.integer(rng, -LARGEST, LARGEST), *right])


def _adding_up_to(rng: Random, total: int, count: int) -> list[int]:
    """`count` (at least one) integers near the mean, with the total given."""
    mean, rest = divmod(total, count)
    noise = draw.integers(rng, count // 2, -100_000_000, 100_000_000)
    offsets = [*noise, *(-n for n in noise), *[0] * (count % 2)]
    offsets[-1] += rest
    return [mean + offset for offset in draw.shuffled(rng, offsets)]


def _plateau(rng: Random, size: int) -> str:
    """Two sides of one weight with zeros between them: every zero is an equilibrium.

    The right side is the left one with every two of its weights made one.
    """
    pairs = draw.integer(rng, size // 10, 3 * size // 10)
    left = draw.integers(rng, 2 * pairs, 1, 1_000_000)
    right = [a + b for a, b in zip(left[::2], left[1::2], strict=True)]
    return draw.array([*left, *[0] * (size - 3 * pairs), *draw.shuffled(rng, right)])


def _none(rng: Random, size: int) -> str:
    """Odd numbers, an even count of them: the two sides never have the same parity."""
    half = draw.integers(rng, size // 2 * 2, -500_000_000, 499_999_999)
    return draw.array([2 * value + 1 for value in half])


def _at_the_end(rng: Random, size: int) -> str:
    """All but the last element cancel out, and no earlier place will do."""
    values = draw.integers(rng, size - 2, 1, 20_000_000)
    return draw.array([*values, -sum(values), draw.integer(rng, 1, LARGEST)])


def _extremes(rng: Random, size: int) -> str:
    """The largest values: sums leave 32 bits. A prefix that cancels out moves the pivot."""
    prefix = [LARGEST, -LARGEST] * draw.integer(rng, 0, size // 6)
    half = [LARGEST - n for n in draw.integers(rng, (size - len(prefix) - 1) // 2, 0, 9)]
    pivot = draw.integer(rng, -LARGEST, LARGEST)
    return draw.array([*prefix, *half, pivot, *draw.shuffled(rng, half)])


PROBLEM = Problem(
    slug="equilibrium-index",
    title="Equilibrium index",
    difficulty="easy",
    minutes=20,
    statement=write_statement(
        story=(
            "A tray of N weights stands on a narrow beam, and some of the weights are helium "
            "balloons: they pull upwards and count as negative. You may put the pivot under any "
            "one weight, which then counts for neither side. Find a weight under which the sum "
            "of everything to its left equals the sum of everything to its right.",
            "A side without weights has the sum 0, so the first and the last weight may be right "
            "as well. Weights are numbered from 0 to N - 1.",
        ),
        case_input=(
            "A line with the integer N.",
            "A line with N integers: the weights from left to right.",
        ),
        case_output=(
            "The number of a weight that the pivot may stand under; any one of them where there "
            "are several, and -1 where there is none.",
        ),
        constraints=(
            "1 ≤ N ≤ 50,000",
            "each weight is between -2,000,000,000 and 2,000,000,000",
        ),
        example=EXAMPLE,
        explanation=(
            "Left of weight 3 there is 4 - 2 + 5 = 7, and right of it 3 + 4 + 0 = 7. "
            "No other place is in equilibrium here."
        ),
    ),
    example_input=EXAMPLE[0],
    example_output=EXAMPLE[1],
    recipes=(
        correctness("single element", 1, _single),
        correctness("two elements", 2, _none),
        correctness("random", 30, _random),
        correctness("both signs", 100, _planted),
        correctness("many equilibria", 60, _plateau),
        correctness("no equilibrium", 90, _none),
        correctness("only the last element", 80, _at_the_end),
        correctness("extreme values", 101, _extremes),
        performance("large, one equilibrium", 30_000, _planted),
        performance("large, many equilibria", 40_000, _plateau),
        performance("large, no equilibrium", 50_000, _none),
        performance("large, extreme values", 50_000, _extremes),
    ),
    solve=solve,
    check=check,
)

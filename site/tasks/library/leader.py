"""The leader: a value that fills more than half of an array."""

from __future__ import annotations

from random import Random

from tasks.library import draw
from tasks.library.base import Problem, correctness, performance, write_statement
from tasks.library.checks import parse_integers

LARGEST = 1_000_000_000
EXAMPLE = ("7\n6 2 6 6 -1 6 2", "6 3")


def solve(case_input: str) -> str:
    """The leader and its first index, or -1, by pairing off different values."""
    values = draw.read_array(case_input)
    candidate, lead = 0, 0
    for value in values:
        if lead == 0:
            candidate = value
        lead += 1 if value == candidate else -1
    if 2 * values.count(candidate) <= len(values):
        return "-1"
    return f"{candidate} {values.index(candidate)}"


def check(case_input: str, submitted: str, expected: str) -> bool:
    """The leader and any index that holds it; -1 alone where there is none."""
    answer, values = parse_integers(submitted, at_most=2), draw.read_array(case_input)
    if answer is None or len(answer) != 2 or expected == "-1":
        return answer == [-1] and expected == "-1"
    winner, index = answer
    in_range = 0 <= index < len(values)
    return in_range and values[index] == winner and str(winner) == expected.split()[0]


def _random(rng: Random, size: int) -> str:
    return draw.array(draw.integers(rng, size, 1, 2))


def _single(rng: Random, size: int) -> str:
    return draw.array([draw.integer(rng, -LARGEST, LARGEST)] * size)


def _votes(rng: Random, size: int, votes: int, low: int, high: int) -> str:
    """A value with so many votes, the others from the range; some of those stand in front."""
    favourite = draw.integer(rng, low, high)
    others = [n + (n == favourite) for n in draw.integers(rng, size - votes, low, high)]
    front = draw.integer(rng, len(others) // 2, len(others) - 1)
    return draw.array(others[:front] + draw.shuffled(rng, others[front:] + [favourite] * votes))


def _bare(rng: Random, size: int) -> str:
    return _votes(rng, size, size // 2 + 1, 1, LARGEST - 1)


def _half(rng: Random, size: int) -> str:
    """Exactly half of the votes, or one fewer than needed: not enough."""
    return _votes(rng, size, size // 2, 1, LARGEST - 1)


def _negative(rng: Random, size: int) -> str:
    return _votes(rng, size, 2 * size // 3, -LARGEST, -1)


def _two_rivals(rng: Random, size: int) -> str:
    rival = draw.integer(rng, LARGEST // 2, LARGEST - 1)
    return _votes(rng, size, size // 2 + 1, rival, rival)


def _scattered(rng: Random, size: int) -> str:
    return draw.array(draw.integers(rng, size, -LARGEST, LARGEST))


PROBLEM = Problem(
    slug="leader",
    title="More than half",
    difficulty="easy",
    minutes=20,
    statement=write_statement(
        story=(
            "A town votes by dropping numbered balls into a tube, so the balls come out in the "
            "order of the votes. A number wins only if it is on more than half of all balls; "
            "exactly half is not enough. Find the winner, and show any one ball as a proof.",
        ),
        case_input=(
            "A line with the integer N, how many balls there are.",
            "A line with N integers: the numbers on the balls, in order.",
        ),
        case_output=(
            "Two integers, separated by a space: the winning number, and the position of any ball "
            "that carries it, counted from 0. If no number wins, only -1.",
        ),
        constraints=(
            "1 ≤ N ≤ 50,000",
            "each number is between -1,000,000,000 and 1,000,000,000",
        ),
        example=EXAMPLE,
        explanation=(
            "The number 6 is on four of the seven balls, at positions 0, 2, 3 and 5; so 6 0, 6 2 "
            "and 6 5 are right answers as well."
        ),
    ),
    example_input=EXAMPLE[0],
    example_output=EXAMPLE[1],
    recipes=(
        correctness("single element", 1, _single),
        correctness("random", 15, _random),
        correctness("all the same", 40, _single),
        correctness("exactly half", 50, _half),
        correctness("one more than half", 60, _bare),
        correctness("one more than half, odd", 61, _bare),
        correctness("one too few, odd", 71, _half),
        correctness("negative numbers", 80, _negative),
        correctness("only two numbers", 100, _two_rivals),
        performance("large, bare majority", 50_000, _bare),
        performance("large, two numbers", 40_001, _two_rivals),
        performance("large, negative numbers", 30_000, _negative),
        performance("large, no winner", 50_000, _scattered),
    ),
    solve=solve,
    check=check,
)

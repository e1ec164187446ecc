"""Overtakes: the number of inversions."""

from __future__ import annotations

from random import Random

from tasks.library import draw
from tasks.library.base import Problem, correctness, performance, write_statement
from tasks.library.checks import same_integer

LARGEST = 1_000_000_000
EXAMPLE = ("5\n52 47 52 60 41", "5")


def solve(case_input: str) -> str:
    """The pairs i < j with a[i] > a[j], counted in a Fenwick tree over the ranks."""
    values = draw.read_array(case_input)
    rank = {value: n for n, value in enumerate(sorted(set(values)), start=1)}
    tree = [0] * (len(rank) + 1)
    pairs = 0
    for seen, value in enumerate(values):
        pairs += seen - _count_up_to(tree, rank[value])
        _add(tree, rank[value])
    return str(pairs)


def _count_up_to(tree: list[int], node: int) -> int:
    count = 0
    while node:
        count += tree[node]
        node &= node - 1
    return count


def _add(tree: list[int], node: int) -> None:
    while node < len(tree):
        tree[node] += 1
        node += node & -node


def _random(rng: Random, size: int) -> str:
    return draw.array(draw.integers(rng, size, 1, size + 2))


def _wide(rng: Random, size: int) -> str:
    return draw.array(draw.integers(rng, size, 1, LARGEST))


def _in_order(rng: Random, size: int) -> str:
    return draw.array(sorted(draw.integers(rng, size, 1, LARGEST)))


def _reversed(rng: Random, size: int) -> str:
    """Almost reversed: a few places exchanged."""
    values = sorted(draw.integers(rng, size, 1, LARGEST), reverse=True)
    for _ in range(size // 50 + 1):
        i, j = draw.integers(rng, 2, 0, size - 1)
        values[i], values[j] = values[j], values[i]
    return draw.array(values)


def _ties(rng: Random, size: int) -> str:
    return draw.array([draw.integer(rng, 1, LARGEST)] * size)


def _few_times(rng: Random, size: int) -> str:
    return draw.array(draw.integers(rng, size, 1000, 1003))


PROBLEM = Problem(
    slug="overtakes",
    title="Overtakes",
    difficulty="medium",
    minutes=35,
    statement=write_statement(
        story=(
            "In a time trial the riders start one after another along the same road, and later "
            "each one's riding time is known. A jury that likes drama calls it an overtake when "
            "a rider started later than another one and needed less time. Equal times are no "
            "overtake. Count the overtakes of the whole race.",
        ),
        case_input=(
            "A line with the integer N, the number of riders.",
            "A line with N integers: the riding times, in the order of the start.",
        ),
        case_output=(
            "The number of pairs of riders in which the one who started later has the smaller "
            "time. Mind that it may not fit into 32 bits.",
        ),
        constraints=(
            "1 ≤ N ≤ 70,000",
            "each time is between 1 and 1,000,000,000",
        ),
        example=EXAMPLE,
        explanation=(
            "The rider with 47 overtakes the first one; the last rider, with 41, overtakes all "
            "four before. The two with 52 are equal, so there are 1 + 4 = 5 overtakes."
        ),
    ),
    example_input=EXAMPLE[0],
    example_output=EXAMPLE[1],
    recipes=(
        correctness("single rider", 1, _wide),
        correctness("random", 20, _random),
        correctness("already in order", 50, _in_order),
        correctness("almost reversed", 60, _reversed),
        correctness("all equal", 40, _ties),
        correctness("few different times", 90, _few_times),
        correctness("extreme values", 150, _wide),
        performance("large, random", 20_000, _wide),
        performance("large, random, more", 30_000, _wide),
        performance("large, few different times", 50_000, _few_times),
        performance("largest, almost reversed", 70_000, _reversed),
    ),
    solve=solve,
    check=same_integer,
)

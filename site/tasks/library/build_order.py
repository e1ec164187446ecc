"""Build order: any topological order, or the news that there is none."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from random import Random

from tasks.library import draw
from tasks.library.base import Problem, correctness, performance, write_statement
from tasks.library.checks import parse_integers

EXAMPLE = ("5 5\n4 2\n2 1\n4 5\n5 1\n1 3", "4 2 5 1 3")

Pair = tuple[int, int]


def solve(case_input: str) -> str:
    """An order by Kahn's algorithm, or -1."""
    count, pairs = _read(case_input)
    later: list[list[int]] = [[] for _ in range(count + 1)]
    waits_for = [0] * (count + 1)
    for before, after in pairs:
        later[before].append(after)
        waits_for[after] += 1
    order = [job for job in range(1, count + 1) if not waits_for[job]]
    for job in order:  # grows while it is read
        for after in later[job]:
            waits_for[after] -= 1
            if not waits_for[after]:
                order.append(after)
    return draw.row(order) if len(order) == count else "-1"


def check(case_input: str, submitted: str, expected: str) -> bool:
    """Any order of all jobs that keeps every pair; -1 where there is none."""
    count, pairs = _read(case_input)
    order = parse_integers(submitted, at_most=count)
    if order is None or expected == "-1":
        return order == [-1]
    place = {job: n for n, job in enumerate(order)}
    if place.keys() != set(range(1, count + 1)):
        return False
    return all(place[before] < place[after] for before, after in pairs)


def _read(case_input: str) -> tuple[int, list[Pair]]:
    count, _, *numbers = (int(token) for token in case_input.split())
    return count, list(zip(numbers[::2], numbers[1::2], strict=True))


def _case(count: int, pairs: Iterable[Pair]) -> str:
    lines = [f"{before} {after}" for before, after in pairs]
    return "\n".join([f"{count} {len(lines)}", *lines])


def _jobs(rng: Random, size: int) -> list[int]:
    return draw.shuffled(rng, range(1, size + 1))


def _random(rng: Random, size: int) -> str:
    """Any pairs at all, so often a circle."""
    starts, ends = (draw.integers(rng, size - 1, 1, size) for _ in range(2))
    return _case(size, ((a, b) for a, b in zip(starts, ends, strict=True) if a != b))


def _free(rng: Random, size: int) -> str:
    return _case(size, [])


def _chain_pairs(jobs: list[int]) -> list[Pair]:
    return list(pairwise(jobs))


def _chain(rng: Random, size: int) -> str:
    """Only one order is right, and a recursion goes to the bottom of it."""
    return _case(size, draw.shuffled(rng, _chain_pairs(_jobs(rng, size))))


def _forward_pairs(rng: Random, jobs: list[int], count: int, reach: int) -> list[Pair]:
    """Pairs that agree with the order of `jobs`, at most `reach` places apart."""
    starts = draw.integers(rng, count, 0, len(jobs) - 2)
    steps = draw.integers(rng, count, 1, reach)
    last = len(jobs) - 1
    return [(jobs[i], jobs[min(i + d, last)]) for i, d in zip(starts, steps, strict=True)]


def _sparse(rng: Random, size: int) -> str:
    return _case(size, _forward_pairs(rng, _jobs(rng, size), size, size))


def _dense(rng: Random, size: int) -> str:
    """Twice as many pairs as jobs, near one another; some pairs repeat."""
    return _case(size, _forward_pairs(rng, _jobs(rng, size), 2 * size, 5))


def _circle(rng: Random, size: int) -> str:
    """One circle of a third of the jobs hides among honest pairs."""
    jobs = _jobs(rng, size)
    ring = sorted(draw.shuffled(rng, range(size))[: max(2, size // 3)])
    circle = [jobs[i] for i in ring]
    pairs = [*_forward_pairs(rng, jobs, size, 5), *_chain_pairs([*circle, circle[0]])]
    return _case(size, draw.shuffled(rng, pairs))


PROBLEM = Problem(
    slug="build-order",
    title="Build order",
    difficulty="medium",
    minutes=40,
    statement=write_statement(
        story=(
            "A build server has N jobs, numbered from 1 to N, and does one at a time. Some jobs "
            "need the result of others: a pair “A B” says that job A must be done before job B. "
            "Give the server an order in which it can do all of them, or find out that the pairs "
            "go round in a circle.",
        ),
        case_input=(
            "A line with the integers N and M: the number of jobs and the number of pairs.",
            "M lines with a pair of different jobs each, A and B. The same pair may come twice.",
        ),
        case_output=(
            "The N job numbers in an order that keeps every pair, on one line, separated by "
            "spaces; any such order is right. Or -1 if there is none.",
        ),
        constraints=(
            "1 ≤ N ≤ 15,000",
            "0 ≤ M ≤ 30,000",
        ),
        example=EXAMPLE,
        explanation=(
            "Job 4 must come first, 1 after both 2 and 5, and 3 at the end; so 4 5 2 1 3 is just "
            "as right."
        ),
    ),
    example_input=EXAMPLE[0],
    example_output=EXAMPLE[1],
    recipes=(
        correctness("single job", 1, _free),
        correctness("no pairs", 20, _free),
        correctness("random", 12, _random),
        correctness("two jobs in a circle", 2, _circle),
        correctness("one long chain", 60, _chain),
        correctness("few pairs", 70, _sparse),
        correctness("many pairs", 80, _dense),
        correctness("a hidden circle", 90, _circle),
        performance("large, one long chain", 15_000, _chain),
        performance("large, few pairs", 15_000, _sparse),
        performance("large, many pairs", 15_000, _dense),
        performance("large, a hidden circle", 12_000, _circle),
    ),
    solve=solve,
    check=check,
)

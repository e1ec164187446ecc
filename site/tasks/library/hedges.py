"""The hedge maze: a way through a grid that cuts as little as possible."""

from __future__ import annotations

from collections import deque
from random import Random

from tasks.library import draw
from tasks.library.base import Problem, correctness, performance, write_statement
from tasks.library.checks import same_integer

EXAMPLE = ("4 5\n.#...\n.#.#.\n##.##\n...#.", "2")

Rows = list[str]


def solve(case_input: str) -> str:
    """The fewest hedges on a way, by breadth-first search with steps of cost 0 and 1.

    The grid is one string with a border of its own character around it, so that a step is an
    addition and no step leaves the grid.
    """
    rows = case_input.split("\n")[1:]
    stride = len(rows[0]) + 1
    cells = "x" * stride + "x".join(rows) + "x" * stride
    start, goal = stride, len(cells) - stride - 1
    done = bytearray(len(cells))
    queue = deque([(start, 0)])
    while queue:
        cell, cuts = queue.popleft()
        if cell == goal:
            return str(cuts)
        if done[cell]:
            continue
        done[cell] = 1
        for near in (cell + 1, cell + stride, cell - 1, cell - stride):
            if cells[near] == "." and not done[near]:
                queue.appendleft((near, cuts))
            elif cells[near] == "#" and not done[near]:
                queue.append((near, cuts + 1))
    raise AssertionError("every cell of a grid can be reached")


def _case(rows: Rows) -> str:
    """The input of a grid whose first and last cell are made free."""
    rows = ["." + rows[0][1:], *rows[1:]]
    rows[-1] = rows[-1][:-1] + "."
    return "\n".join([f"{len(rows)} {len(rows[0])}", *rows])


def _hedges(rng: Random, height: int, width: int, share: float) -> Rows:
    """Independent cells, each a hedge with the probability given."""
    return [
        "".join("#" if rng.random() < share else "." for _ in range(width)) for _ in range(height)
    ]


def _random(rng: Random, size: int) -> str:
    return _case(_hedges(rng, size, draw.integer(rng, 1, size), 0.5))


def _one_row(rng: Random, size: int) -> str:
    return _case(_hedges(rng, 1, size, 0.5))


def _one_column(rng: Random, size: int) -> str:
    return _case(_hedges(rng, size, 1, 0.5))


def _open(rng: Random, size: int) -> str:
    return _case(_hedges(rng, size, size, 0.1))


def _thicket(rng: Random, size: int) -> str:
    return _case(_hedges(rng, size, size, 0.7))


def _full(rng: Random, size: int) -> str:
    return _case(["#" * size] * draw.integer(rng, 2, size))


def _winding(rng: Random, size: int, plugs: float) -> Rows:
    """A path that snakes from side to side between hedges two deep, with a plug now and then."""
    rows: Rows = []
    while len(rows) < size:
        gap = "#" * (size - 1) + "." if len(rows) % 6 == 0 else "." + "#" * (size - 1)
        rows += [*_hedges(rng, 1, size, plugs), gap, gap]
    return [*rows[: size // 3 * 3], *_hedges(rng, 1, size, plugs)]


def _snake(rng: Random, size: int) -> str:
    """A free path, but it leads left as often as right."""
    return _case(_winding(rng, size, 0.0))


def _plugged(rng: Random, size: int) -> str:
    """Cutting through or walking round: what is better differs from row to row."""
    return _case(_winding(rng, size, 3 / size))


PROBLEM = Problem(
    slug="hedge-maze",
    title="The hedge maze",
    difficulty="hard",
    minutes=50,
    statement=write_statement(
        story=(
            "A gardener is to lead a tour through a park of R by C squares, from the top left one "
            "to the bottom right one, stepping up, down, left or right. Some squares are free, "
            "others are overgrown by a hedge. A tour may take any detour, but for every hedge in "
            "its way the gardener has to cut a passage. How few hedges will do?",
        ),
        case_input=(
            "A line with the integers R and C: the number of rows and of columns.",
            "R lines of C characters: a dot (.) for a free square, a hash (#) for a hedge.",
        ),
        case_output=("The smallest number of hedges that a tour has to cut through.",),
        constraints=(
            "1 ≤ R, C ≤ 160",
            "the top left and the bottom right square are free",
        ),
        example=EXAMPLE,
        explanation=(
            "One way leads down, cuts the hedge in the first column, goes right along the bottom "
            "row and cuts the last hedge there. Another one cuts the second square of the top row "
            "and the last square of the third row. Every tour needs at least two cuts."
        ),
    ),
    example_input=EXAMPLE[0],
    example_output=EXAMPLE[1],
    recipes=(
        correctness("single square", 1, _random),
        correctness("one row", 40, _one_row),
        correctness("one column", 30, _one_column),
        correctness("random", 9, _random),
        correctness("almost open", 15, _open),
        correctness("all hedges", 12, _full),
        correctness("a winding path", 19, _snake),
        correctness("a plugged path", 25, _plugged),
        performance("large, thicket", 120, _thicket),
        performance("large, plugged path", 140, _plugged),
        performance("large, dense thicket", 150, _thicket),
        performance("largest, plugged path", 159, _plugged),
    ),
    solve=solve,
    check=same_integer,
)

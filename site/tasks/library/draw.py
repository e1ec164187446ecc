"""Random input for cases.

A session's input is never stored: it is made again from the seed when the answers come in. So
everything here draws through `Random.random()` alone, whose sequence Python guarantees for a seed
across versions, as it does not for `randrange` or `shuffle`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random
from typing import TypeVar

T = TypeVar("T")


def integer(rng: Random, low: int, high: int) -> int:
    """An integer from `low` to `high`, both included."""
    return low + int(rng.random() * (high - low + 1))


def integers(rng: Random, count: int, low: int, high: int) -> list[int]:
    """`count` independent integers from `low` to `high`, both included."""
    span, draw = high - low + 1, rng.random
    return [low + int(draw() * span) for _ in range(count)]


def pick(rng: Random, items: Sequence[T]) -> T:
    """One of the items."""
    return items[int(rng.random() * len(items))]


def shuffled(rng: Random, items: Iterable[T]) -> list[T]:
    """The items in a random order."""
    return sorted(items, key=lambda _: rng.random())


def text(rng: Random, length: int, alphabet: str) -> str:
    """`length` independent characters of the alphabet."""
    return "".join(pick(rng, alphabet) for _ in range(length))


def row(values: Iterable[int]) -> str:
    """Integers on one line, separated by single spaces."""
    return " ".join(map(str, values))


def array(values: Sequence[int]) -> str:
    """The input shared by the tasks on an array: a line with N, a line with N integers."""
    return f"{len(values)}\n{row(values)}"


def read_array(case_input: str) -> list[int]:
    """The opposite of `array`."""
    return [int(token) for token in case_input.split()[1:]]

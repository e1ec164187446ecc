"""What checkers have in common: reading a line that may hold anything, in bounded time."""

from __future__ import annotations

import re

INTEGER = re.compile(r"[+-]?[0-9]{1,19}")


def parse_integers(line: str, at_most: int) -> list[int] | None:
    """The integers of a line, or None: none at all, more than `at_most`, or anything else in it.

    An integer is ASCII digits, 19 at most, with an optional sign.
    """
    tokens = line.split(maxsplit=at_most)
    if not 1 <= len(tokens) <= at_most or not all(map(INTEGER.fullmatch, tokens)):
        return None
    return [int(token) for token in tokens]


def parse_integer(line: str) -> int | None:
    """The only integer of a line, or None."""
    numbers = parse_integers(line, at_most=1)
    return numbers[0] if numbers else None


def same_integer(case_input: str, submitted: str, expected: str) -> bool:
    """The checker of a task whose only right answer is one integer."""
    return parse_integer(submitted) == int(expected)

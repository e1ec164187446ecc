"""Brackets: where does a text stop being mendable?"""

from __future__ import annotations

from random import Random

from tasks.library import draw
from tasks.library.base import Problem, correctness, performance, write_statement
from tasks.library.checks import same_integer

CLOSER = {"(": ")", "[": "]", "{": "}"}
EXAMPLE = ("{[]()[(])}", "8")


def solve(case_input: str) -> str:
    """0 if balanced, else the position of the first character that nothing can mend."""
    waiting: list[str] = []
    for position, character in enumerate(case_input, start=1):
        if character in CLOSER:
            waiting.append(CLOSER[character])
        elif not waiting or waiting.pop() != character:
            return str(position)
    return str(len(case_input) + 1) if waiting else "0"


def _random(rng: Random, size: int) -> str:
    return draw.text(rng, size, "()[]{}" if size > 4 else "()[]")


def _balanced(rng: Random, size: int, opening: float) -> str:
    """A balanced text of `size` (even) characters; `opening` is the chance to open early."""
    made: list[str] = []
    waiting: list[str] = []
    while len(made) < size:
        must_close = len(waiting) == size - len(made)
        if not waiting or (not must_close and rng.random() < opening):
            made.append(draw.pick(rng, "([{"))
            waiting.append(CLOSER[made[-1]])
        else:
            made.append(waiting.pop())
    return "".join(made)


def _flat(rng: Random, size: int) -> str:
    return _balanced(rng, size, 0.4)


def _deep(rng: Random, size: int) -> str:
    return _balanced(rng, size, 0.95)


def _wrong_kind(rng: Random, size: int) -> str:
    """One closing bracket in the last third is of another kind."""
    text = _deep(rng, size)
    place = draw.integer(rng, 2 * size // 3, size - 1)
    while text[place] in CLOSER:  # the last character closes, so this ends
        place += 1
    other = draw.pick(rng, [c for c in CLOSER.values() if c != text[place]])
    return text[:place] + other + text[place + 1 :]


def _too_early(rng: Random, size: int) -> str:
    """A balanced beginning, then a closing bracket with nothing to close."""
    start = draw.integer(rng, size // 6, size // 3) * 2
    rest = draw.text(rng, size - start - 1, "()[]{}")
    return _flat(rng, start) + draw.pick(rng, ")]}") + rest


def _unfinished(rng: Random, size: int) -> str:
    """Nothing wrong, but one bracket is never closed; at most `size` characters."""
    start, rest = (2 * n for n in draw.integers(rng, 2, size // 6, size // 4 - 1))
    return _flat(rng, start) + draw.pick(rng, "([{") + _deep(rng, rest)


def _crossed(rng: Random, size: int) -> str:
    """As many of each kind as needed, closed in the wrong order."""
    start = draw.integer(rng, size // 6, size // 3) * 2
    crossed = draw.pick(rng, ["([)]", "{(})", "[{]}"])
    return _flat(rng, start) + crossed + _flat(rng, size - start - 4)


PROBLEM = Problem(
    slug="bracket-inspector",
    title="The bracket inspector",
    difficulty="easy",
    minutes=25,
    statement=write_statement(
        story=(
            "An editor checks brackets while you type, from left to right, and there are three "
            "kinds: ( ), [ ] and { }. A text is balanced if every bracket is closed by one of "
            "its own kind, and what stands between the two is balanced as well.",
            "The editor keeps quiet as long as the text so far could still be completed to a "
            "balanced one. It beeps at the first character for which that is no longer so. When "
            "the text ends without a beep but with brackets still open, it beeps just behind the "
            "last character.",
        ),
        case_input=("A line with the text: brackets only, without spaces.",),
        case_output=(
            "The position of the beep, where the first character has position 1 and the end of a "
            "text of N characters has position N + 1; or 0 if the text is balanced.",
        ),
        constraints=("the text has 1 to 50,000 characters, each of them one of ( ) [ ] { }",),
        example=EXAMPLE,
        explanation=(
            "The first seven characters could still be completed. The eighth, ], "
            "would have to close the ( before it, and nothing that follows can mend that."
        ),
    ),
    example_input=EXAMPLE[0],
    example_output=EXAMPLE[1],
    recipes=(
        correctness("single character", 1, _random),
        correctness("random", 8, _random),
        correctness("balanced, flat", 40, _flat),
        correctness("balanced, deep", 60, _deep),
        correctness("wrong kind", 80, _wrong_kind),
        correctness("closed too early", 70, _too_early),
        correctness("never closed", 50, _unfinished),
        correctness("crossed", 60, _crossed),
        performance("large, deep", 50_000, _deep),
        performance("large, wrong kind", 50_000, _wrong_kind),
        performance("large, never closed", 40_000, _unfinished),
        performance("large, crossed", 40_000, _crossed),
    ),
    solve=solve,
    check=same_integer,
)

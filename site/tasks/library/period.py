"""The shortest period of a text."""

from __future__ import annotations

from random import Random

from tasks.library import draw
from tasks.library.base import Problem, correctness, performance, write_statement
from tasks.library.checks import same_integer

EXAMPLE = ("abaababaab", "5")


def solve(case_input: str) -> str:
    """The length less that of the longest proper border, by Knuth, Morris and Pratt."""
    text = case_input
    borders = [0] * len(text)
    border = 0
    for i in range(1, len(text)):
        while border and text[i] != text[border]:
            border = borders[border - 1]
        if text[i] == text[border]:
            border += 1
        borders[i] = border
    return str(len(text) - border)


def _random(rng: Random, size: int) -> str:
    return draw.text(rng, size, "ab")


def _single(rng: Random, size: int) -> str:
    return draw.pick(rng, "abcxyz") * size


def _letters(rng: Random, size: int) -> str:
    """Of many letters, the last one new: no period but the whole length."""
    return draw.text(rng, size - 1, "abcdefghij") + "z"


def _repeated(rng: Random, size: int) -> str:
    """A tile of a few letters, laid until the roll ends, cut off where it does."""
    tile = draw.text(rng, draw.integer(rng, size // 9 + 1, size // 3), "abc")
    return (tile * (size // len(tile) + 1))[:size]


def _whole_tiles(rng: Random, size: int) -> str:
    return draw.text(rng, draw.integer(rng, size // 9 + 1, size // 5), "ab") * 4


def _comb(rng: Random, size: int) -> str:
    """Teeth of equal length, and one flaw: comparing letter by letter goes far, again and again."""
    tooth = "a" * draw.integer(rng, int(size**0.5) // 2 + 1, int(size**0.5) + 2) + "b"
    text = (tooth * (size // len(tooth) + 1))[:size]
    flaw = draw.integer(rng, 2 * size // 3, size - 1)
    return text[:flaw] + "c" + text[flaw + 1 :]


def _late_break(rng: Random, size: int) -> str:
    """One letter throughout, but for one place near the middle."""
    place = draw.integer(rng, size // 2, size // 2 + size // 8)
    return "a" * place + "b" + "a" * (size - place - 1)


def _fibonacci(rng: Random, size: int) -> str:
    """A piece of the Fibonacci word: borders within borders."""
    previous, word = "b", "a"
    while len(word) < 2 * size:
        previous, word = word, word + previous
    start = draw.integer(rng, 0, size // 2)
    return word[start : start + size]


PROBLEM = Problem(
    slug="wallpaper-period",
    title="The wallpaper's period",
    difficulty="medium",
    minutes=35,
    statement=write_statement(
        story=(
            "A roll of wallpaper was printed by a cylinder that pressed the same P letters over "
            "and over; the roll was cut off at some point, perhaps in the middle of a turn. "
            "Only the roll is left. How small may the cylinder have been?",
            "In other words: find the smallest P ≥ 1 for which every letter equals the letter P "
            "places before it, wherever there is such a letter. P equal to the length of the "
            "roll always works.",
        ),
        case_input=("A line with the roll: small letters a to z, without spaces.",),
        case_output=("The smallest possible P.",),
        constraints=("the roll has 1 to 100,000 letters",),
        example=EXAMPLE,
        explanation=(
            "The roll is “abaab” twice, so P = 5 works. No smaller one does: P = 3, for instance, "
            "fails at the seventh letter, a “b” three places behind an “a”."
        ),
    ),
    example_input=EXAMPLE[0],
    example_output=EXAMPLE[1],
    recipes=(
        correctness("single letter", 1, _single),
        correctness("one letter throughout", 30, _single),
        correctness("random", 12, _random),
        correctness("no repetition", 50, _letters),
        correctness("whole tiles", 60, _whole_tiles),
        correctness("tile cut off", 80, _repeated),
        correctness("a flaw", 90, _comb),
        correctness("borders within borders", 100, _fibonacci),
        performance("large, tile cut off", 60_000, _repeated),
        performance("large, a flaw", 80_000, _comb),
        performance("large, one odd letter", 100_000, _late_break),
        performance("large, borders within borders", 100_000, _fibonacci),
    ),
    solve=solve,
    check=same_integer,
)

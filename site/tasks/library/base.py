"""The words of the task library: cases, statements, problems, and what can go wrong.

A task is output-only, as in the informatics olympiads. The candidate downloads an input file of
several cases, computes the answers at home in any language, and submits one line of text a case.
Judging compares text; no foreign code is ever run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from random import Random
from typing import Any, Literal

Group = Literal["correctness", "performance"]
Difficulty = Literal["easy", "medium", "hard"]
BlockKind = Literal["text", "heading", "list", "code"]

Builder = Callable[[Random, int], str]
"""(rng, size) → the text of one case's input, without a newline at its end."""
Solver = Callable[[str], str]
"""One case's input → one right answer, on one line."""
Checker = Callable[[str, str, str], bool]
"""(case input, submitted line, reference answer) → is it right? Total: never raises, never slow."""


class LibraryError(Exception):
    """The base of every error of the task library."""


class UnknownTask(LibraryError):
    """No task of that slug."""


class UnknownCase(LibraryError):
    """A case that its problem has no recipe for."""


class SubmissionTooLarge(LibraryError):
    """A submitted output above MAX_OUTPUT_BYTES."""


@dataclass(frozen=True)
class Case:
    """What a hidden case is, without its data, which a session's seed makes.

    `size` is in the problem's own unit: elements, characters, jobs, or the side of a grid.
    """

    group: Group
    name: str
    size: int

    def to_dict(self) -> dict[str, Any]:
        """The case as JSON-friendly values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Case:
        """The opposite of `to_dict`."""
        return cls(group=data["group"], name=data["name"], size=int(data["size"]))


@dataclass(frozen=True)
class Recipe:
    """A case and the function that makes its input."""

    case: Case
    build: Builder


def correctness(name: str, size: int, build: Builder) -> Recipe:
    """A small case that looks for a mistake."""
    return Recipe(Case("correctness", name, size), build)


def performance(name: str, size: int, build: Builder) -> Recipe:
    """A case so large that only a good algorithm gets through."""
    return Recipe(Case("performance", name, size), build)


@dataclass(frozen=True)
class Block:
    """A piece of a statement, plain text throughout: the template escapes it and adds the tags.

    `text`, `heading` and `code` use `text` (that of `code` may have several lines); `list` uses
    `items`.
    """

    kind: BlockKind
    text: str = ""
    items: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The block as JSON-friendly values; a template reads it just like the block."""
        return {"kind": self.kind, "text": self.text, "items": list(self.items)}


@dataclass(frozen=True)
class Problem:
    """One task: what the candidate reads, and how its cases are made, solved and checked.

    `example_input` is ONE case's input (no `case K` line) and `example_output` its answer;
    `judging.example_file` gives the example in the format of an input file. `minutes` is the
    suggested time. Case names are unique within a problem; the case named "random" can be made
    at any size from 1.
    """

    slug: str
    title: str
    difficulty: Difficulty
    minutes: int
    statement: tuple[Block, ...]
    example_input: str
    example_output: str
    recipes: tuple[Recipe, ...]
    solve: Solver
    check: Checker
    points: int = 100

    @property
    def cases(self) -> tuple[Case, ...]:
        """The hidden cases, in the order of the input file."""
        return tuple(recipe.case for recipe in self.recipes)

    def generate(self, rng: Random, case: Case) -> str:
        """One case's input, by the recipe of the case's name at the case's size."""
        for recipe in self.recipes:
            if recipe.case.name == case.name:
                return recipe.build(rng, case.size)
        known = ", ".join(repr(recipe.case.name) for recipe in self.recipes)
        raise UnknownCase(f"Task {self.slug!r} has no case named {case.name!r}; it has {known}.")


def write_statement(
    *,
    story: tuple[str, ...],
    case_input: tuple[str, ...],
    case_output: tuple[str, ...],
    constraints: tuple[str, ...],
    example: tuple[str, str],
    explanation: str,
) -> tuple[Block, ...]:
    """The blocks of a statement, every statement's in the same order.

    `case_input` lists the lines of one case; `example` is its (input, output).
    """
    return (
        *(Block("text", paragraph) for paragraph in story),
        Block("heading", "Input of one case"),
        Block("list", items=case_input),
        Block("heading", "Output of one case"),
        *(Block("text", paragraph) for paragraph in case_output),
        Block("heading", "Constraints"),
        Block("list", items=constraints),
        Block("heading", "Example"),
        Block("text", "For the case"),
        Block("code", example[0]),
        Block("text", "a right answer is"),
        Block("code", example[1]),
        Block("text", explanation),
    )

"""A session's input file, and the verdict on the output that comes back.

Input file: a line with the number of cases T; then for each case a line `case K` (K from 1 to T)
and the case's own lines. It is made from the session's seed, so every candidate has other data,
and it is made again, not stored, when the output is judged.

Output: one line a case, in the order of the cases. How it is read:
- lines end with LF, CRLF or CR; a byte order mark at the start is dropped;
- blank lines, also those at the end, are skipped; so a case without an answer needs some
  placeholder, such as `?`, to keep the following lines in their places;
- lines that are missing make the last cases wrong; lines beyond T are ignored, and the verdict's
  note says how many.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from random import Random
from typing import Any

from tasks.library.base import Block, Group, Problem, SubmissionTooLarge

MAX_OUTPUT_BYTES = 1024 * 1024
"""The largest output accepted, in bytes of UTF-8."""

PREVIEW_CHARACTERS = 40

FILE_FORMAT: tuple[Block, ...] = (
    Block(
        "text",
        "The input file holds several cases. Its first line is the number of cases, T. Each case "
        "starts with a line “case K”, where K counts from 1 to T, and goes on with its own lines.",
    ),
    Block(
        "text",
        "Your output has exactly T lines: the answer to each case on a line of its own, in the "
        "order of the cases, without the “case K” lines. Blank lines are skipped, so write a “?” "
        "for a case that you leave out.",
    ),
)
"""What to show beside every statement: it is the same for all tasks."""


@dataclass(frozen=True)
class CaseResult:
    """How one case went. The message never gives the right answer away."""

    name: str
    group: Group
    passed: bool
    message: str


@dataclass(frozen=True)
class Verdict:
    """The result of one submission.

    `correctness` and `performance` are the percentages of their cases passed, 0 to 100, rounded
    down, so that 100 means all of them; `performance` is None ("not assessed") for a task
    without performance cases. `score` is from 0 to the problem's points; see `score_of`.
    """

    correctness: int
    performance: int | None
    score: int
    cases: tuple[CaseResult, ...]
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The verdict as JSON-friendly values."""
        return {**asdict(self), "cases": [asdict(case) for case in self.cases]}


def input_file(problem: Problem, seed: str) -> str:
    """The input of a session: the same text for the same seed, always."""
    return _as_file(_inputs(problem, seed))


def example_file(problem: Problem) -> str:
    """The statement's example in the format of an input file, to try a program on."""
    return _as_file([problem.example_input])


def solution_file(problem: Problem, seed: str) -> str:
    """A right output for a session, by the reference solution."""
    return "".join(f"{problem.solve(text)}\n" for text in _inputs(problem, seed))


def judge(problem: Problem, seed: str, output: str) -> Verdict:
    """The verdict on an output. Any text is judged; only its size is refused.

    Raises SubmissionTooLarge above MAX_OUTPUT_BYTES.
    """
    lines = answer_lines(output)
    total = len(problem.cases)
    answers = [*lines[:total], *[None] * (total - len(lines))]
    results = tuple(_judge_case(problem, seed, k, answer) for k, answer in enumerate(answers, 1))
    right = [result.passed for result in results if result.group == "correctness"]
    fast = [result.passed for result in results if result.group == "performance"]
    return Verdict(
        correctness=_percent(right),
        performance=_percent(fast) if fast else None,
        score=score_of(problem.points, right, fast),
        cases=results,
        note=_note(len(lines), total),
    )


def check_example(problem: Problem, output: str) -> tuple[bool, str]:
    """Whether an output is right for the statement's example, and what to tell the candidate.

    Raises SubmissionTooLarge above MAX_OUTPUT_BYTES.
    """
    lines = answer_lines(output)
    if len(lines) != 1:
        return False, f"The example is one case: expected one line, got {len(lines)}."
    if problem.check(problem.example_input, lines[0], problem.example_output):
        return True, "Right."
    expected = problem.example_output
    return False, f"Wrong: {_preview(lines[0])} where {_preview(expected)} is a right answer."


def score_of(points: int, right: Sequence[bool], fast: Sequence[bool]) -> int:
    """Points for the cases passed, rounded down.

    Half of the points belongs to the correctness cases and half to the performance cases, shared
    evenly within each group; without performance cases all belong to correctness. A brute-force
    solution that gets every small case right and no large one has half of the points.
    """
    if not fast:
        return points * sum(right) // len(right)
    passed = sum(right) * len(fast) + sum(fast) * len(right)
    return points * passed // (2 * len(right) * len(fast))


def answer_lines(output: str) -> list[str]:
    """The non-blank lines of an output, stripped. Raises SubmissionTooLarge."""
    _refuse_too_large(len(output))
    _refuse_too_large(len(output.encode("utf-8", "surrogatepass")))
    unix = output.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    return [line.strip() for line in unix.split("\n") if line.strip()]


def decode_output(data: bytes) -> str:
    """The text of an uploaded output file.

    UTF-8, or UTF-16 where a byte order mark says so (what `>` writes in Windows PowerShell).
    What cannot be decoded, and NUL, which PostgreSQL cannot store, becomes U+FFFD.
    Raises SubmissionTooLarge above MAX_OUTPUT_BYTES.
    """
    _refuse_too_large(len(data))
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = data.decode("utf-16" if wide else "utf-8-sig", "replace")
    return text.replace("\0", "\ufffd")


def _input(problem: Problem, seed: str, k: int) -> str:
    """The input of case K, from 1: it depends on the seed, the slug and K alone."""
    rng = Random(f"{seed}:{problem.slug}:{k}")  # noqa: S311 - data to be the same again, no secret
    return problem.generate(rng, problem.cases[k - 1])


def _inputs(problem: Problem, seed: str) -> list[str]:
    return [_input(problem, seed, k) for k in range(1, len(problem.cases) + 1)]


def _as_file(texts: Sequence[str]) -> str:
    numbered = (f"case {k}\n{text}\n" for k, text in enumerate(texts, start=1))
    return f"{len(texts)}\n{''.join(numbered)}"


def _judge_case(problem: Problem, seed: str, k: int, answer: str | None) -> CaseResult:
    case = problem.cases[k - 1]
    if answer is None:
        return CaseResult(case.name, case.group, False, "No line for this case.")
    text = _input(problem, seed, k)
    passed = problem.check(text, answer, problem.solve(text))
    message = "Right." if passed else f"Wrong answer: {_preview(answer)}"
    return CaseResult(case.name, case.group, passed, message)


def _percent(passed: Sequence[bool]) -> int:
    return 100 * sum(passed) // len(passed)


def _note(lines: int, cases: int) -> str:
    if lines < cases:
        return f"{lines} lines for {cases} cases: those without a line count as wrong."
    if lines > cases:
        return f"{lines} lines for {cases} cases: the last {lines - cases} were ignored."
    return ""


def _preview(line: str) -> str:
    """The start of a line, printable and short enough for a table."""
    shown = "".join(c if c.isprintable() else "\ufffd" for c in line[:PREVIEW_CHARACTERS])
    return shown + ("…" if len(line) > PREVIEW_CHARACTERS else "")


def _refuse_too_large(size: int) -> None:
    if size > MAX_OUTPUT_BYTES:
        raise SubmissionTooLarge(
            f"The output has {size:,} bytes or more; at most {MAX_OUTPUT_BYTES:,} are accepted. "
            "Submit the answers only, one line a case."
        )

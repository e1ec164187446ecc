"""Output-only programming tasks: statements, input files, and judging. Pure Python, no Django."""

from tasks.library.base import (
    Block,
    Case,
    LibraryError,
    Problem,
    SubmissionTooLarge,
    UnknownCase,
    UnknownTask,
)
from tasks.library.judging import (
    FILE_FORMAT,
    MAX_OUTPUT_BYTES,
    CaseResult,
    Verdict,
    check_example,
    decode_output,
    example_file,
    input_file,
    judge,
    solution_file,
)
from tasks.library.registry import get, problems

__all__ = [
    "FILE_FORMAT",
    "MAX_OUTPUT_BYTES",
    "Block",
    "Case",
    "CaseResult",
    "LibraryError",
    "Problem",
    "SubmissionTooLarge",
    "UnknownCase",
    "UnknownTask",
    "Verdict",
    "check_example",
    "decode_output",
    "example_file",
    "get",
    "input_file",
    "judge",
    "problems",
    "solution_file",
]

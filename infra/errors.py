"""The one family of errors that the commands show to a person: no traceback, a cure in the text."""

__all__ = ["ClusterError", "DescriptionError", "InventoryError", "Problem", "Violation"]

from dataclasses import dataclass


class ClusterError(Exception):
    """Something about the cluster stops the command. The message names it and says the cure."""

    exit_status = 1


@dataclass(frozen=True, order=True)
class Problem:
    """One thing to mend in a cluster description; `line` counts from 1."""

    line: int
    seen: str
    cure: str


class DescriptionError(ClusterError):
    """A cluster description is refused. `problems` has everything that was found, by line."""

    exit_status = 2

    def __init__(self, file: str, problems: list[Problem]) -> None:
        self.file = file
        self.problems = sorted(set(problems))
        super().__init__(
            "\n".join(f"{file}:{p.line}: {p.seen}; {p.cure}" for p in self.problems),
        )


@dataclass(frozen=True, order=True)
class Violation:
    """One thing to mend in an inventory; `place` is file:line."""

    place: str
    seen: str
    cure: str

    def __str__(self) -> str:
        return f"{self.place}: {self.seen}; {self.cure}"


class InventoryError(ClusterError):
    """An Ansible inventory is refused. `violations` has what was found, by place."""

    exit_status = 2

    def __init__(self, violations: list[Violation]) -> None:
        self.violations = sorted(set(violations))
        super().__init__("\n".join(map(str, self.violations)))

"""Writes on tasks and countries, in the catalog; then the shards get their copies."""

from importlib import resources

from tasks import library
from tasks.models import Country, Task

__all__ = ["load_countries", "load_library"]


def load_library() -> int:
    """Store the library's problems as tasks, by slug. Returns how many there are."""
    problems = library.problems()
    for slug, problem in problems.items():
        Task.objects.update_or_create(slug=slug, defaults=_fields(problem))
    return len(problems)


def load_countries() -> int:
    """Store the countries of ISO 3166 as the time zone database lists them. Returns how many."""
    table = resources.files("tzdata.zoneinfo").joinpath("iso3166.tab").read_text("utf-8")
    rows = [line.split("\t") for line in table.splitlines() if line and not line.startswith("#")]
    Country.objects.bulk_create(
        [Country(code=code, name=name) for code, name in rows],
        update_conflicts=True,
        unique_fields=["code"],
        update_fields=["name"],
    )
    return len(rows)


def _fields(problem: library.Problem) -> dict[str, object]:
    return {
        "title": problem.title,
        "statement": [block.to_dict() for block in problem.statement],
        "example_input": library.example_file(problem),
        "example_output": problem.example_output,
        "cases": [case.to_dict() for case in problem.cases],
        "points": problem.points,
        "minutes": problem.minutes,
        "difficulty": problem.difficulty,
    }

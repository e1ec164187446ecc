"""Loads a cluster description. Everything wrong is reported at once, each with line and cure."""

__all__ = ["DescriptionError", "Loaded", "explain", "load", "nearest"]

import difflib
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from infra.errors import DescriptionError, Problem
from infra.rules import Finding, violations
from infra.schema import Description
from infra.yamlsource import Location, Source, read

CURES = {
    "int_type": "write a whole number without quotes",
    "bool_type": "write true or false",
    "string_type": "write text, in quotes if it looks like something else",
    "list_type": "write a list: lines that start with `- `",
    "too_short": "add at least one",
    "string_too_short": "write something",
    "dict_type": "write keys and values, indented below it",
    "model_type": "write keys and values, indented below it",
}
PATTERN_CURES = {
    "name": "use lower-case letters, digits and _, starting with a letter, 31 at most",
    "cluster": "use lower-case letters, digits and _, starting with a letter, 31 at most",
    "host": "write a host name or an IPv4 address",
    "allowed_hosts": "write a host name or an IPv4 address",
    "clients": "write a range such as 10.20.0.0/24, or samenet",
    "ssh_from": "write a range such as 10.20.0.0/24",
    "addresses": "write an IPv4 address",
    "shared_buffers": "write a size such as 128MB",
    "maxmemory": "write a size such as 128mb",
    "public_url": "write a URL such as http://127.0.0.1:8000, with no path",
}


@dataclass(frozen=True)
class Loaded:
    """A valid description and the file it came from."""

    description: Description
    source: Source

    def place(self, location: Location) -> str:
        """`file:line` of a key, for a message."""
        return f"{self.source.file}:{self.source.line(location)}"


def load(path: Path) -> Loaded:
    """Read and validate. Raises DescriptionError with every problem found in the file."""
    source = read(path)
    problems = list(source.duplicates)
    try:
        description = Description.model_validate(source.data)
    except ValidationError as error:
        problems += [_problem(source, detail) for detail in error.errors()]
        raise DescriptionError(source.file, problems) from None
    problems += [Problem(source.line(at), seen, cure) for at, seen, cure in violations(description)]
    if problems:
        raise DescriptionError(source.file, problems)
    return Loaded(description, source)


def _problem(source: Source, error: ErrorDetails) -> Problem:
    at, seen, cure = explain(error)
    return Problem(source.line(at), seen, cure)


def explain(error: ErrorDetails) -> Finding:
    """One of pydantic's errors in our words."""
    at: Location = tuple(part for part in error["loc"] if part != "[key]")
    key = next((str(part) for part in reversed(at) if isinstance(part, str)), "the file")
    known = _known_keys(at)
    if error["type"] in ("extra_forbidden", "literal_error") and "[key]" in error["loc"]:
        return at, f"unknown key '{key}'", nearest(key, known)
    if error["type"] == "extra_forbidden":
        return at, f"unknown key '{key}'", nearest(key, known)
    if error["type"] == "missing":
        inside = ".".join(map(str, at[:-1])) or "the file"
        return at, f"the key '{key}' is missing in {inside}", f"add `{key}:` there"
    return at, f"{key}: {_shown(error['input'])}", _cure(error, key)


def _shown(value: Any) -> str:
    """A value as a message shows it."""
    if isinstance(value, dict | list):
        return f"a {'mapping' if isinstance(value, dict) else 'list'} of {len(value)}"
    return "nothing" if value is None else repr(value)[:80]


def _cure(error: ErrorDetails, key: str) -> str:
    context = error.get("ctx", {})
    match error["type"]:
        case "literal_error":
            return f"write {context['expected']}"
        case "string_pattern_mismatch":
            return PATTERN_CURES.get(key, f"write text like {context['pattern']}")
        case "greater_than_equal":
            return f"write {context['ge']} or more"
        case "less_than_equal":
            return f"write {context['le']} or less"
    return CURES.get(error["type"], error["msg"])


def nearest(key: str, known: Iterable[str]) -> str:
    """The cure for an unknown `key`."""
    known = sorted(known)
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f"did you mean '{near[0]}'?" if near else f"known here: {', '.join(known)}"


def _known_keys(at: Location) -> list[str]:
    """The keys that may stand where the last part of `at` stands."""
    kind: Any = Description
    for part in at[:-1]:
        kind = _step(kind, part)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [info.alias or name for name, info in kind.model_fields.items()]
    keys = typing.get_args(kind)
    return list(typing.get_args(keys[0])) if keys else []


def _step(kind: Any, part: str | int) -> Any:
    """The type one level deeper in the schema."""
    if isinstance(part, int):
        return typing.get_args(kind)[0]
    if isinstance(kind, type) and issubclass(kind, BaseModel) and part in kind.model_fields:
        return kind.model_fields[part].annotation
    return object

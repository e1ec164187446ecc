"""Reads YAML and remembers on which line each key and value stands."""

__all__ = ["Location", "Source", "read"]

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from infra.errors import DescriptionError, Problem

Location = tuple[str | int, ...]


@dataclass
class Source:
    """What a file says. `lines` maps the path of a key or list item to its line, from 1."""

    file: str
    data: Any = None
    lines: dict[Location, int] = field(default_factory=dict)
    duplicates: list[Problem] = field(default_factory=list)

    def line(self, location: Location) -> int:
        """The line of `location`, or of its nearest parent that the file has."""
        while location and location not in self.lines:
            location = location[:-1]
        return self.lines.get(location, 1)


class _Loader(yaml.SafeLoader):
    """Ansible's own tags are text like any other."""


for tag in ("!vault", "!unsafe"):
    _Loader.add_constructor(tag, lambda loader, node: str(node.value))


def read(path: Path, *, empty: bool = False) -> Source:
    """Parse the file at `path`. Raises DescriptionError where it cannot be read or is not YAML.

    A file without anything in it is refused unless it may be `empty`.
    """
    source = Source(str(path))
    loader = _Loader(_text(path))
    try:
        node = loader.get_single_node()
        if node is None or node.tag == "tag:yaml.org,2002:null":
            if empty:
                return source
            raise _refused(path, 1, "the file is empty", "copy infra/cluster.yml and change it")
        source.duplicates = list(_duplicates(node))
        source.data = loader.construct_document(node)
        source.lines = dict(_lines(node, ()))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise _syntax_error(path, error) from None
    finally:
        loader.dispose()
    return source


def _text(path: Path) -> str:
    """The file's text."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise _refused(path, 1, "no such file", "name another with --cluster FILE") from None
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise _refused(path, line, "not UTF-8 text", "save the file as UTF-8") from None
    except OSError as error:
        cure = "make it a file that this user can read"
        raise _refused(path, 1, error.strerror or str(error), cure) from None


def _refused(path: Path, line: int, seen: str, cure: str) -> DescriptionError:
    return DescriptionError(str(path), [Problem(line, seen, cure)])


def _syntax_error(path: Path, error: Exception) -> DescriptionError:
    """A YAML error as file, line and cure."""
    mark = getattr(error, "problem_mark", None)
    said = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    line = mark.line + 1 if mark else 1
    cure = "mend the YAML there, or on the line before (indent with spaces, `key: value`)"
    return _refused(path, line, f"not valid YAML: {said}", cure)


def _lines(node: yaml.Node, at: Location) -> Iterator[tuple[Location, int]]:
    """Every location under `node` and its line; a key's location has the line of the key."""
    yield at, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _lines(value, (*at, key.value))
            yield (*at, key.value), key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _lines(value, (*at, index))


def _duplicates(node: yaml.Node) -> Iterator[Problem]:
    """A Problem for every key that a mapping under `node` has twice (YAML takes the last)."""
    if isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _duplicates(value)
    elif isinstance(node, yaml.MappingNode):
        first: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.value in first:
                cure = f"delete one; the first is on line {first[key.value]}"
                yield Problem(line, f"the key '{key.value}' stands twice", cure)
            first.setdefault(str(key.value), line)
            yield from _duplicates(value)

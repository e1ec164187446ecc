"""Where in an inventory's files a variable, a group or a host stands, for messages."""

__all__ = ["Places"]

from collections.abc import Iterator
from pathlib import Path

from infra.errors import Violation
from infra.yamlsource import Location, Source, read

VAULTED = b"$ANSIBLE_VAULT"


class Places:
    """The YAML files of the inventory at `path`, a folder or one file. Vaulted ones stay closed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sources = [read(file, empty=True) for file in sorted(_files(path))]

    def find(self, variable: Location, near: str = "") -> str:
        """`file:line` of a variable, or of a key in it; rather where `near`, a host or group, is.

        Without such a variable: of the host or group itself.
        """
        for length in range(len(variable), 0, -1):
            if found := min(self._ends_with(variable[:length], near), default=None):
                return f"{found[1]}:{found[2]}"
        if near and (found := min(self._ends_with((near,), ""), default=None)):
            return f"{found[1]}:{found[2]}"
        return f"{self.path}:1"

    def duplicates(self) -> Iterator[Violation]:
        """Keys that a file has twice; of two groups or hosts of one name Ansible takes the last."""
        for source in self.sources:
            for problem in source.duplicates:
                yield Violation(f"{source.file}:{problem.line}", problem.seen, problem.cure)

    def _ends_with(self, key: Location, near: str) -> Iterator[tuple[bool, str, int]]:
        for source in self.sources:
            about = near in Path(source.file).with_suffix("").parts
            for location, line in _lines(source):
                if location[-len(key) :] == key:
                    yield bool(near) and not about and near not in location, source.file, line


def _lines(source: Source) -> Iterator[tuple[Location, int]]:
    yield from source.lines.items()


def _files(path: Path) -> Iterator[Path]:
    folder = path if path.is_dir() else path.parent
    found = folder.rglob("*") if path.is_dir() else _beside(path)
    for file in found:
        if file.suffix in (".yml", ".yaml") and not file.read_bytes().startswith(VAULTED):
            yield file


def _beside(path: Path) -> Iterator[Path]:
    """An inventory of one file, and the variables beside it."""
    yield path
    for name in ("group_vars", "host_vars"):
        yield from (path.parent / name).rglob("*")

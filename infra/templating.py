"""Renders the templates under infra/templates, which compose and Ansible use as well; writes."""

__all__ = ["File", "template", "write"]

import functools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class File:
    """A rendered file. Mode 0600 where it has a secret in it."""

    content: str
    mode: int = 0o644


@functools.cache
def _environment() -> jinja2.Environment:
    """Jinja as Ansible sets it up, except that an unknown name is an error."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - configuration files, not HTML
    )


def template(name: str, **variables: Any) -> str:
    """Render infra/templates/NAME.j2. The template's first lines say what it needs."""
    return _environment().get_template(f"{name}.j2").render(variables)


def write(root: Path, files: dict[str, File]) -> list[str]:
    """Write what differs, each file in one step. Returns the paths that changed."""
    return [name for name, file in files.items() if _write(root / name, file)]


def _write(path: Path, file: File) -> bool:
    if path.exists() and path.read_text() == file.content:
        if path.stat().st_mode & 0o777 != file.mode:
            path.chmod(file.mode)
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, file.mode)
    with os.fdopen(descriptor, "w") as handle:
        handle.write(file.content)
    temporary.chmod(file.mode)
    temporary.replace(path)
    return True

"""Renders the templates under infra/templates, which compose and Ansible use as well."""

__all__ = ["File", "template"]

import functools
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

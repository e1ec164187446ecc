"""What a fragment's tag says, and the values that it names."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from django.db import models
from django.template.base import FilterExpression, Node, NodeList, Variable, VariableDoesNotExist
from django.utils.functional import Promise
from django.utils.safestring import SafeString

from caching.fragment_source import blocks_in
from caching.guard import MISSING, FragmentError
from caching.shapes import plain

__all__ = ["Terms", "can_be_shown", "path_of", "told"]


@dataclass
class Terms:
    """A tag. `vary`: (path, expression); "" for what cannot be read inside. `named`: by name."""

    name: str
    template: str
    line: int
    text: str
    nodelist: NodeList
    vary: list[tuple[str, FilterExpression]]
    named: dict[str, FilterExpression] = field(default_factory=dict)
    visitor: FilterExpression | None = None
    seconds: int | None = None
    tables: frozenset[str] = frozenset()
    uses: tuple[str, ...] = ()
    lasting: bool = False
    names: bool = False
    source: str = ""  # digest, once it is known
    refused: bool = False  # in this process: it is not safe to keep
    blocks: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.blocks = blocks_in(list[Node](self.nodelist))

    def __str__(self) -> str:
        return f'Fragment "{self.name}" ({self.template}, line {self.line})'

    @property
    def label(self) -> str:
        """For counts."""
        return f"fragment {self.name}"

    def rendered(self, context: Any) -> str:
        """As if there were no fragment."""
        named = {name: expression.resolve(context) for name, expression in self.named.items()}
        with context.push(**named):
            return str(self.nodelist.render(context))

    def value(self, context: Any, name: str) -> Any:
        """Of a variable. Raises FragmentError where there is none: a slip of the pen."""
        try:
            return context[name]
        except KeyError:
            raise self.error(f"names {name!r}, and there is no such variable.") from None

    def resolved(self, expression: FilterExpression, context: Any) -> Any:
        """Of an expression; MISSING at the end of a path that leads nowhere."""
        if isinstance(expression.var, Variable) and expression.var.lookups:
            self.value(context, expression.var.lookups[0])
            if not expression.filters:
                try:
                    return expression.var.resolve(context)
                except VariableDoesNotExist:
                    return MISSING
        return expression.resolve(context)

    def error(self, problem: str) -> FragmentError:
        """To be raised."""
        error = FragmentError(f"{self} {problem}")
        error.terms = self
        return error


def path_of(expression: FilterExpression) -> str:
    """A variable's, "" for anything else."""
    var: Any = expression.var
    is_path = isinstance(var, Variable) and var.lookups and not expression.filters
    return str(var.var) if is_path else ""


def told(value: Any) -> Any:
    """As `shapes.plain`, for what a template knows besides."""
    if type(value) in (int, str):
        return value
    if value is MISSING:
        return ("missing",)
    if isinstance(value, Promise):
        return ("text", str(value))
    if isinstance(value, SafeString):
        return ("safe", str(value))
    if isinstance(value, Enum):
        return ("enum", type(value).__qualname__, plain(value.value))
    if isinstance(value, list | tuple):
        return tuple(map(told, value))
    return plain(value)


def can_be_shown(value: Any) -> bool:
    """Whether the key says all about it: a row stands there by its number alone."""
    if isinstance(value, list | tuple):
        return all(map(can_be_shown, value))
    return not isinstance(value, models.Model)

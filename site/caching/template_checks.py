"""System check: fragments that show what is one visitor's, found where they are written.

A fragment refuses such a thing when it is made (`guard`). This finds it before anybody asks for the
page, in the text of the project's templates: `{% csrf_token %}`, and paths into the request and the
visitor that the tag does not name. What Python shows, only the guard can see.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.checks import CheckMessage, Error
from django.template import TemplateDoesNotExist, TemplateSyntaxError, engines
from django.template.backends.django import DjangoTemplates
from django.template.base import FilterExpression, Node, Template, Variable
from django.template.defaulttags import CsrfTokenNode, ForNode, WithNode
from django.template.engine import Engine
from django.template.library import InclusionNode
from django.template.loader_tags import BlockNode, ExtendsNode, IncludeNode
from django.template.smartif import TokenBase

from caching.fragment_source import digest_of_source, names_in
from caching.fragment_terms import Terms, path_of
from caching.guard import PERSONAL, FragmentError
from caching.templatetags.fragments import FragmentNode

__all__ = ["check_templates"]

FRAGMENT = re.compile(r"{%\s*fragment\s")
EXTENDS = re.compile(r"{%\s*extends\s+[\"']([^\"']+)[\"']")

Seen = tuple[Node, str]
"""A node, and the path into what is one visitor's that it reads."""


def check_templates(app_configs: object, **kwargs: Any) -> list[CheckMessage]:
    """E005 to E007."""
    backends = [backend for backend in engines.all() if isinstance(backend, DjangoTemplates)]
    problems: dict[tuple[str, str], CheckMessage] = {}
    for backend in backends:
        for problem in _of_engine(backend.engine, _with_fragments(backend)):
            problems.setdefault((str(problem.obj), problem.msg), problem)
    return list(problems.values())


def _with_fragments(backend: Any) -> list[str]:
    """The names of templates that have fragments, and of those that extend one of them."""
    extended: dict[str, str] = {}
    wanted: set[str] = set()
    for directory in map(Path, backend.template_dirs):
        for path in directory.rglob("*"):
            text = path.read_text(errors="ignore") if path.suffix and path.is_file() else ""
            name = path.relative_to(directory).as_posix()
            if FRAGMENT.search(text):
                wanted.add(name)
            if found := EXTENDS.search(text):
                extended[name] = found[1]
    while more := {name for name, base in extended.items() if base in wanted} - wanted:
        wanted |= more
    return sorted(wanted)


def _of_engine(engine: Engine, names: list[str]) -> Iterator[CheckMessage]:
    for name in names:
        try:
            family = _family(engine, name)
        except (TemplateSyntaxError, TemplateDoesNotExist) as error:
            yield Error(str(error), obj=name, id="caching.E007")
            continue
        blocks: dict[str, BlockNode] = {}
        for template in family:
            blocks = {block.name: block for block in _nodes(template, BlockNode)} | blocks
        for template in family:
            for fragment in _nodes(template, FragmentNode):
                yield from _of_fragment(fragment, Reading(engine, blocks))


def _family(engine: Engine, name: str) -> list[Template]:
    """The template, the one that it extends, and so on."""
    family = [engine.get_template(name)]
    while extends := _nodes(family[-1], ExtendsNode):
        try:
            (base,) = names_in(extends[0])
        except FragmentError:  # a variable, so nobody knows
            break
        family.append(engine.get_template(base))
    return family


def _nodes(template: Template, kind: Any) -> list[Any]:
    return template.nodelist.get_nodes_by_type(kind)


def _of_fragment(fragment: FragmentNode, reading: "Reading") -> Iterator[CheckMessage]:
    terms = fragment.terms
    try:
        digest_of_source(terms.text, list[Node](terms.nodelist), reading.engine)
        seen = list(reading.of(terms.nodelist, PERSONAL))
    except (FragmentError, TemplateDoesNotExist) as error:
        yield Error(f"{terms} {error}", obj=_where(fragment), id="caching.E007")
        return
    named = _named(terms)
    for node, path in seen:
        if isinstance(node, CsrfTokenNode):
            yield Error(
                f"{terms} holds a {{% csrf_token %}}: the visitor's who was first would be "
                f"everybody's.",
                hint="Move it, and its form, out of the fragment.",
                obj=_where(node),
                id="caching.E005",
            )
        elif not any(path == one or path.startswith(f"{one}.") for one in named):
            yield Error(
                f"{terms} shows {path}, which its tag does not name: what one visitor sees would "
                f"be another's.",
                hint=f"Say for={path}, or name it among the tag's values, or move what shows it "
                f"out of the fragment.",
                obj=_where(node),
                id="caching.E006",
            )


def _named(terms: Terms) -> list[str]:
    """The paths that are in its key."""
    paths = [path for path, _ in terms.vary]
    if terms.visitor is not None:
        paths.append(path_of(terms.visitor))
    return [path for path in paths if path]


def _where(node: Any) -> str:
    return f"{node.origin.name}:{node.token.lineno}"


class Reading:
    """What nodes read of the names in `seen`, those that still mean what the page's context has."""

    def __init__(self, engine: Engine, blocks: dict[str, BlockNode]) -> None:
        self.engine, self.blocks = engine, blocks
        self.included: list[str] = []

    def of(self, part: Any, seen: frozenset[str], by: Any = None) -> Iterator[Seen]:
        """`part`: anything that a node has; `by`: the node."""
        if isinstance(part, Node):
            yield from self._of_node(part, seen)
        elif isinstance(part, FilterExpression):
            arguments = [one for _, given in part.filters for _, one in given]
            yield from self.of([part.var, *arguments], seen, by)
        elif isinstance(part, Variable):
            if part.lookups and part.lookups[0] in seen:
                yield by, ".".join(map(str, part.lookups))
        elif isinstance(part, TokenBase):
            yield from self.of(list(vars(part).values()), seen, by)
        elif isinstance(part, list | tuple | dict):
            for one in part.values() if isinstance(part, dict) else part:
                yield from self.of(one, seen, by)

    def _of_node(self, node: Any, seen: frozenset[str]) -> Iterator[Seen]:
        if isinstance(node, CsrfTokenNode):
            if "csrf_token" in seen:
                yield node, "csrf_token"
        elif isinstance(node, FragmentNode):  # what it holds is its own affair
            terms = node.terms
            told = [expression for _, expression in terms.vary]
            yield from self.of([*told, *terms.named.values(), terms.visitor], seen, node)
        elif isinstance(node, ForNode):
            yield from self.of(node.sequence, seen, node)
            inside = [node.nodelist_loop, node.nodelist_empty]
            yield from self.of(inside, seen.difference(node.loopvars), node)
        elif isinstance(node, WithNode):
            yield from self.of(node.extra_context, seen, node)
            yield from self.of(node.nodelist, seen.difference(node.extra_context), node)
        elif isinstance(node, BlockNode):
            yield from self.of(self.blocks.get(node.name, node).nodelist, seen, node)
        else:
            yield from self.of(list(vars(node).values()), seen, node)
            if isinstance(node, IncludeNode | InclusionNode):
                yield from self._of_included(node, seen)

    def _of_included(self, node: Any, seen: frozenset[str]) -> Iterator[Seen]:
        if isinstance(node, InclusionNode):
            seen &= {"csrf_token"}  # all that it passes on
        else:
            seen = frozenset() if node.isolated_context else seen.difference(node.extra_context)
        for name in names_in(node):
            if name not in self.included:
                self.included.append(name)
                yield from self.of(self.engine.get_template(name).nodelist, seen)
                self.included.pop()

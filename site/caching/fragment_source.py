"""Which text a fragment is made from: its own, and that of every template that it includes.

Its digest is part of the fragment's key, so a deploy with a changed template shows nothing that the
old one has made. So are the sources of the tag libraries. Other Python that a template reaches (a
model's method, a URL) is told by CACHING["RELEASE"].
"""

from collections.abc import Iterator
from functools import cache
from hashlib import blake2b
from pathlib import Path
from sys import modules
from typing import Any

from django.template.base import Node, Variable
from django.template.engine import Engine
from django.template.library import InclusionNode
from django.template.loader_tags import (
    BLOCK_CONTEXT_KEY,
    BlockNode,
    ExtendsNode,
    IncludeNode,
    construct_relative_path,
)

from caching.conf import settings
from caching.guard import FragmentError

__all__ = ["blocks_in", "digest_of_blocks", "digest_of_source", "names_in"]

NESTED: Any = (IncludeNode, InclusionNode, ExtendsNode)


def digest_of_source(text: str, nodes: list[Node], engine: Engine) -> str:
    """Of a fragment's text and whatever its nodes include.

    Raises FragmentError where a template's name is not written in the tag.
    """
    seen: dict[str, str] = {}
    for node in nodes:
        _gather(node, engine, seen)
    parts = [
        text,
        settings().release,
        _libraries(engine),
        *(f"{n}\n{seen[n]}" for n in sorted(seen)),
    ]
    return _digest("\n\n".join(parts))


def digest_of_blocks(names: list[str], context: Any) -> str:
    """Of what the template that is shown puts in the place of these blocks."""
    held = context.render_context.get(BLOCK_CONTEXT_KEY)
    if held is None or not names:
        return ""
    engine = context.template.engine
    origins = {block.origin.template_name for name in names for block in held.blocks[name]}
    return _digest("\n".join(_template(engine, name) for name in sorted(filter(None, origins))))


def _template(engine: Engine, name: str) -> str:
    template: Any = engine.get_template(name)
    return digest_of_source(str(template.source), [*template.nodelist], engine)


def _gather(node: Node, engine: Engine, seen: dict[str, str]) -> None:
    """Adds name → source of every template that the node reaches."""
    for nested in node.get_nodes_by_type(NESTED):
        for name in names_in(nested):
            if name in seen:
                continue
            template = engine.get_template(name)
            seen[name] = str(template.source)
            for inner in template.nodelist:
                _gather(inner, engine, seen)


def names_in(node: Any) -> Iterator[str]:
    """The templates that an include, an inclusion tag or an extends names."""
    if isinstance(node, InclusionNode):
        names: Any = node.filename
        yield from [names] if isinstance(names, str) else names
        return
    told: Any = node.parent_name if isinstance(node, ExtendsNode) else node.template
    if isinstance(told.var, Variable) or told.filters:
        raise FragmentError(
            f"includes a template by the variable {told.token}, so nobody can tell whether that "
            f"template has changed. Write its name in the tag, or include it outside."
        )
    yield construct_relative_path(node.origin.template_name, str(told.var))


def blocks_in(nodes: list[Node]) -> list[str]:
    """The names of the blocks among them."""
    kind: Any = BlockNode
    blocks: list[Any] = [block for node in nodes for block in node.get_nodes_by_type(kind)]
    return [block.name for block in blocks]


@cache
def _libraries(engine: Engine) -> str:
    """The source of the engine's tags and filters."""
    libraries = [*engine.template_builtins, *engine.template_libraries.values()]
    found = {f.__module__ for one in libraries for f in (*one.tags.values(), *one.filters.values())}
    files = (getattr(modules.get(name), "__file__", None) for name in sorted(found))
    return _digest("".join(Path(file).read_text() for file in files if file))


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=16).hexdigest()

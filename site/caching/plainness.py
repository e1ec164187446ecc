"""Values of any shape as plain ones, and back: containers of what `codec` can keep in columns.

What is not itself after marshalling is a pair (kind, written): ("t", "2026-11-23T10:00:00") is a
moment, and ("()", [1, 2]) is a tuple. So a pair never means anything else.
"""

from typing import Any

from caching.codec import KINDS, PLAIN, READ, WRITE, NotPlain
from caching.entries import Packing

__all__ = ["VALUES", "pack_value", "unpack_value"]

TUPLE = "()"


def pack_value(value: Any) -> Any:
    """Raises NotPlain."""
    kind = type(value)
    if kind in PLAIN:
        return value
    if kind is list:
        return list(map(pack_value, value))
    if kind is tuple:
        return TUPLE, list(map(pack_value, value))
    if kind is dict and all(type(name) in PLAIN for name in value):
        return {name: pack_value(one) for name, one in value.items()}
    if kind in KINDS:
        return KINDS[kind], WRITE[KINDS[kind]](value)
    if isinstance(value, str):  # marked safe, or a choice
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    raise NotPlain(f"{kind.__name__} is no plain value")


def unpack_value(packed: Any) -> Any:
    kind = type(packed)
    if kind is list:
        return list(map(unpack_value, packed))
    if kind is dict:
        return {name: unpack_value(one) for name, one in packed.items()}
    if kind is not tuple:
        return packed
    how, written = packed
    return tuple(map(unpack_value, written)) if how == TUPLE else READ[how](written)


class Values(Packing):
    """An answer that is such a value."""

    def pack(self, answer: Any) -> Any:
        return pack_value(answer)

    def unpack(self, packed: Any) -> Any:
        return unpack_value(packed)


VALUES = Values()

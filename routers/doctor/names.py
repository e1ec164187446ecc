"""What the names in a Python file stand for, as far as its text tells: imports and constants."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from routers.doctor.sql import HOLE

__all__ = [
    "Function",
    "Names",
    "Seen",
    "argument",
    "called",
    "given",
    "is_none",
    "is_parameter",
    "parent_of",
]

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


@dataclass(frozen=True)
class Seen:
    """A broken rule, the node where it shows, and what was seen there."""

    rule: str
    node: ast.expr
    what: str = ""


class Names:
    """The imports, assignments and functions of one file, whatever their scope."""

    def __init__(self, tree: ast.Module) -> None:
        self._paths: dict[str, str] = {}
        self._values: dict[str, list[ast.expr]] = {}
        self.defined: set[str] = set()
        for node in ast.walk(tree):
            for child in ast.iter_child_nodes(node):
                child.parent = node  # type: ignore[attr-defined]
            self._learn(node)

    def path(self, node: ast.AST | None) -> str:
        """The dotted path of what an expression names, imports followed; "" for anything else."""
        match node:
            case ast.Name(id=name):
                if name not in self._paths:
                    self._paths[name] = ""  # what leads back to itself names nothing
                    self._paths[name] = self._alias(name)
                return self._paths[name]
            case ast.Attribute(value=value, attr=attr):
                before = self.path(value)
                return f"{before}.{attr}" if before else ""
            case _:
                return ""

    def values(self, name: str) -> list[ast.expr]:
        """Everything that is assigned to a name in the file."""
        return self._values.get(name, [])

    def text(self, node: ast.AST | None, depth: int = 5) -> str | None:
        """The text of a string expression, with HOLE for what is not known; None for no text."""
        match node:
            case ast.Constant(value=str() as text):
                return text
            case ast.JoinedStr(values=parts):
                return "".join(self.text(part) or HOLE for part in parts)
            case ast.FormattedValue(value=value):
                return self.text(value, depth)
            case ast.BinOp(op=ast.Mod(), left=left):
                return self._with_hole(self.text(left, depth))
            case ast.BinOp(op=ast.Add(), left=left, right=right):
                return _joined([self.text(left, depth), self.text(right, depth)], "")
            case ast.IfExp(body=one, orelse=other):
                return _joined([self.text(one, depth), self.text(other, depth)], ";")
            case ast.List(elts=items) | ast.Tuple(elts=items):
                return _joined([self.text(item, depth) for item in items], ";")
            case ast.Call(func=ast.Attribute(value=value, attr="format")):
                return self._with_hole(self.text(value, depth))
            case ast.Call(args=[first, *_]):  # SQL("…"), dedent("…")
                return self.text(first, depth)
            case ast.Name(id=name) | ast.Attribute(attr=name) if depth:
                texts = [self.text(value, depth - 1) for value in self.values(name)]
                return _joined(texts, ";") if texts else None
        return None

    @staticmethod
    def _with_hole(text: str | None) -> str | None:
        return None if text is None else f"{text}{HOLE}"

    def _alias(self, name: str) -> str:
        """`atomic = transaction.atomic` and `tx = transaction`."""
        paths = (self.path(value) for value in self.values(name))
        return next(filter(None, paths), "")

    def _learn(self, node: ast.AST) -> None:
        match node:
            case ast.Import(names=names):
                for alias in names:
                    first = alias.name.partition(".")[0]
                    self._paths[alias.asname or first] = alias.name if alias.asname else first
            case ast.ImportFrom(module=module, names=names, level=level):
                package = "." * bool(level) + (module or "")
                for alias in names:
                    self._paths[alias.asname or alias.name] = f"{package}.{alias.name}"
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    self._assign(target, value)
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                self._assign(target, value)
            case ast.NamedExpr(target=target, value=value):
                self._assign(target, value)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                self.defined.add(name)
            case ast.ClassDef(name=name):
                self._paths.setdefault(name, f".{name}")

    def _assign(self, target: ast.AST, value: ast.expr) -> None:
        if isinstance(target, ast.Name | ast.Attribute):
            name = target.id if isinstance(target, ast.Name) else target.attr
            self._values.setdefault(name, []).append(value)


def parent_of(node: ast.AST) -> Iterator[ast.AST]:
    """What a node stands in, from the inside out."""
    while (node := getattr(node, "parent", None)) is not None:  # type: ignore[assignment]
        yield node


def _joined(texts: list[str | None], separator: str) -> str | None:
    if all(text is None for text in texts):
        return None
    return separator.join(HOLE if text is None else text for text in texts)


def given(node: ast.AST, name: str) -> list[ast.expr]:
    """What a name is given in the nearest function (or the module) that gives it anything."""
    for scope in parent_of(node):
        if isinstance(scope, Function | ast.Module) and (values := _given_in(scope, name)):
            return values
        if isinstance(scope, Function) and name in _parameters(scope):
            return []
    return []


def is_parameter(node: ast.AST, name: str) -> bool:
    """Whether the name is an argument of a function around it, which could be anything."""
    return any(isinstance(up, Function) and name in _parameters(up) for up in parent_of(node))


def _parameters(function: Function) -> set[str]:
    return {each.arg for each in ast.walk(function.args) if isinstance(each, ast.arg)}


def _given_in(scope: ast.AST, name: str) -> list[ast.expr]:
    """In that scope itself, not in the functions inside it."""
    found: list[ast.expr] = []
    for node in ast.iter_child_nodes(scope):
        match node:
            case ast.Assign(targets=[ast.Name(id=target)], value=value) if target == name:
                found.append(value)
            case ast.withitem(context_expr=value, optional_vars=ast.Name(id=target)):
                if target == name:
                    found.append(value)
        if not isinstance(node, Function):
            found += _given_in(node, name)
    return found


def called(node: ast.expr) -> ast.expr:
    return node.func if isinstance(node, ast.Call) else node


def argument(call: ast.Call, name: str, position: int) -> ast.expr | None:
    named = [keyword.value for keyword in call.keywords if keyword.arg == name]
    return named[0] if named else call.args[position] if len(call.args) > position else None


def is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None

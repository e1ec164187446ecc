"""The rules of the doctor on databases: what is called, how, and inside what."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from routers.doctor.context import generator, thread, within
from routers.doctor.names import (
    Names,
    Seen,
    argument,
    called,
    given,
    is_none,
    is_parameter,
    parent_of,
)
from routers.doctor.sql import HOLE, problems_of_sql, tables_in

__all__ = ["Project", "look"]

ATOMIC = "django.db.transaction.atomic"
# Where `using` stands among the arguments of what works on the catalog without it.
NEEDS_USING = {
    ATOMIC: ("W101", 0),
    "django.db.transaction.on_commit": ("W102", 1),
    "django.db.transaction.set_rollback": ("W101", 1),
    "django.db.transaction.savepoint": ("W101", 0),
    "django.db.transaction.savepoint_commit": ("W101", 1),
    "django.db.transaction.savepoint_rollback": ("W101", 1),
    "django.db.transaction.commit": ("W101", 0),
    "django.db.transaction.rollback": ("W101", 0),
}
TRANSACTIONS = frozenset((ATOMIC, "routers.account_atomic", "routers.transactions.account_atomic"))
CATALOG_NAMES = (
    "django.db.DEFAULT_DB_ALIAS",
    "django.db.utils.DEFAULT_DB_ALIAS",
    "routers.conf.CATALOG",
)
SQL_METHODS = {"execute", "executemany", "mogrify", "copy_expert", "raw"}


@dataclass(frozen=True)
class Project:
    """What the rules need to know of the project."""

    tables: frozenset[str] = frozenset()  # of sharded models
    models: frozenset[str] = frozenset()  # their dotted paths
    cursors_on: tuple[str, ...] = ()  # aliases with server-side cursors switched on


def look(tree: ast.Module, project: Project, *, in_migration: bool = False) -> Iterator[Seen]:
    """Everything in a file that breaks a rule.

    Migrations go to PostgreSQL directly: what their SQL does to its session is nobody's business.
    """
    code = _Code(tree, project)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute):
            yield from code.reference(node)
        elif isinstance(node, ast.Call):
            yield from code.catalog(node)
            yield from code.unfiltered(node)
            yield from thread(code.names, node)
            if not in_migration:
                yield from code.session(node)
        elif isinstance(node, ast.Yield | ast.YieldFrom):
            yield from generator(code.names, node)


class _Code:
    """The rules, each a method that yields what breaks it at one node."""

    def __init__(self, tree: ast.Module, project: Project) -> None:
        self.names, self.project = Names(tree), project

    def reference(self, node: ast.Name | ast.Attribute) -> Iterator[Seen]:
        """W101 and W102: on the catalog for want of `using`, called or handed over."""
        path = self.names.path(node)
        if path not in NEEDS_USING or not isinstance(node.ctx, ast.Load):
            return
        if isinstance(node, ast.Name) and is_parameter(node, node.id):
            return  # another thing of the same name
        rule, position = NEEDS_USING[path]
        parent = node.parent  # type: ignore[union-attr]
        if isinstance(parent, ast.Call) and parent.func is node:
            if not self._has_using(parent, path, position):
                yield Seen(rule, parent, path.rpartition(".")[2])
        elif not isinstance(parent, ast.Assign | ast.Attribute):
            yield Seen(rule, node, path.rpartition(".")[2])

    def catalog(self, call: ast.Call) -> Iterator[Seen]:
        """W103 and W115: SQL through the catalog's connection."""
        match call.func:
            case ast.Attribute(value=cursor, attr="execute" | "executemany") if call.args:
                if not self._is_catalog_cursor(cursor):
                    return
            case _:
                return
        text = self.names.text(call.args[0])
        tables = tables_in(text or "", self.project.tables)
        if tables:
            yield Seen("W103", call, ", ".join(tables))
        elif text is None or HOLE in text:
            yield Seen("W115", call)

    def session(self, call: ast.Call) -> Iterator[Seen]:
        """W104 to W111: what needs a session of its own behind the pooler."""
        method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        if method in ("cursor", "create_cursor") and _names_cursor(call):
            yield Seen("W104", call, "a cursor with a name")
        if method == "iterator" and self.project.cursors_on:
            yield Seen("W105", call, ", ".join(self.project.cursors_on))
        if method in SQL_METHODS and call.args and (text := self.names.text(call.args[0])):
            in_transaction = self._in_transaction(call)
            for rule, what in problems_of_sql(text, in_transaction=in_transaction):
                yield Seen(rule, call, what)

    def unfiltered(self, call: ast.Call) -> Iterator[Seen]:
        """W112: SQL on a sharded model, which nothing filters by account."""
        match call.func:
            case ast.Attribute(value=value, attr="raw" | "extra") if model := self._model(value):
                yield Seen("W112", call, f"{model}: {call.func.attr}()")
        if self.names.path(call.func).endswith(".RawSQL") and call.args:
            users = (self._model(up) for up in parent_of(call) if isinstance(up, ast.Call))
            named = tables_in(self.names.text(call.args[0]) or "", self.project.tables)
            if model := next(filter(None, users), "") or ", ".join(named):
                yield Seen("W112", call, f"{model}: RawSQL()")

    def _has_using(self, call: ast.Call, path: str, position: int) -> bool:
        for keyword in call.keywords:
            if keyword.arg is None:
                return True  # **options: who knows
            if keyword.arg == "using":
                return not is_none(keyword.value)
        if len(call.args) <= position or is_none(call.args[position]):
            return False
        first = call.args[position]
        decorates = isinstance(first, ast.Lambda) or (
            isinstance(first, ast.Name) and first.id in self.names.defined
        )
        return not (path == ATOMIC and decorates)

    def _is_catalog_cursor(self, node: ast.expr) -> bool:
        match node:
            case ast.Call(func=ast.Attribute(value=connection, attr="cursor")):
                return self._is_catalog(connection)
            case ast.Name(id=name):
                return any(self._is_catalog_cursor(value) for value in given(node, name))
        return False

    def _is_catalog(self, node: ast.expr) -> bool:
        match node:
            case ast.Subscript(value=value, slice=key):
                is_default = isinstance(key, ast.Constant) and key.value == "default"
                is_default = is_default or self.names.path(key) in CATALOG_NAMES
                return is_default and self.names.path(value) == "django.db.connections"
            case ast.Call(func=function, args=[], keywords=[]):
                return self.names.path(function) == "django.db.transaction.get_connection"
            case ast.Name(id=name) if is_parameter(node, name):
                return False
            case ast.Name(id=name) if values := given(node, name):
                return any(self._is_catalog(value) for value in values)
        return self.names.path(node) == "django.db.connection"

    def _model(self, node: ast.expr) -> str:
        """The sharded model at the beginning of `Model.objects.filter(…).…`, or ""."""
        while isinstance(node, ast.Attribute | ast.Call | ast.Subscript):
            if isinstance(node, ast.Attribute) and (path := self.names.path(node)):
                for model in self.project.models:
                    local = path.lstrip(".").split(".objects")[0]
                    if model == local or (path[0] == "." and model.endswith(f".{local}")):
                        return model.rpartition(".")[2]
            node = node.func if isinstance(node, ast.Call) else node.value
        return ""

    def _in_transaction(self, call: ast.Call) -> bool:
        above = list(parent_of(call))
        functions = [up for up in above if isinstance(up, ast.FunctionDef | ast.AsyncFunctionDef)]
        decorators = [each for function in functions for each in function.decorator_list]
        decorated = any(self.names.path(called(each)) in TRANSACTIONS for each in decorators)
        return decorated or within(self.names, TRANSACTIONS, above)


def _names_cursor(call: ast.Call) -> bool:
    """psycopg's `cursor("name")` and `cursor(name=…)`: a cursor kept by the server."""
    if call.args:
        return isinstance(call.args[0], ast.Constant) and isinstance(call.args[0].value, str)
    name = argument(call, "name", 0)
    return name is not None and not is_none(name)

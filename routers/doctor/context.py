"""The rules of the doctor on the account in force: where it leaks, and where it is left behind."""

import ast
from collections.abc import Iterator

from routers.doctor.names import Function, Names, Seen, argument, called, given, parent_of

__all__ = ["generator", "thread", "within"]

SCOPES = frozenset(
    f"{module}.{name}"
    for module in ("routers", "routers.context")
    for name in ("account_context", "all_accounts")
)
THREADS = {"threading.Thread": ("target", 1), "threading.Timer": ("function", 1)}
POOLS = ("concurrent.futures.ThreadPoolExecutor", "concurrent.futures.thread.ThreadPoolExecutor")
CARRY = ("routers.carry", "routers.carrying.carry")
MANAGERS = {"contextmanager", "asynccontextmanager", "fixture"}


def generator(names: Names, node: ast.Yield | ast.YieldFrom) -> Iterator[Seen]:
    """W113: the account leaks into whoever takes the next item."""
    above = list(parent_of(node))
    function = next((up for up in above if isinstance(up, Function)), None)
    if function is None or isinstance(function, ast.Lambda):
        return
    decorators = {names.path(called(each)).rpartition(".")[2] for each in function.decorator_list}
    if not decorators & MANAGERS and within(names, SCOPES, above[: above.index(function)]):
        yield Seen("W113", node, function.name)


def thread(names: Names, call: ast.Call) -> Iterator[Seen]:
    """W114: work that is handed to a thread without its account."""
    work = _handed_over(names, call)
    if work is not None and not _is_carried(names, work):
        yield Seen("W114", call, ast.unparse(work)[:40])


def within(names: Names, paths: frozenset[str], above: list[ast.AST]) -> bool:
    """Whether one of the blocks above is a `with` of one of these paths."""
    blocks = [up for up in above if isinstance(up, ast.With | ast.AsyncWith)]
    items = [item.context_expr for block in blocks for item in block.items]
    return any(names.path(called(item)) in paths for item in items)


def _handed_over(names: Names, call: ast.Call) -> ast.expr | None:
    """The function that a call hands to a thread."""
    path = names.path(call.func)
    if path in THREADS:
        name, position = THREADS[path]
        return argument(call, name, position)
    match call.func:
        case ast.Attribute(attr="run_in_executor"):
            return argument(call, "func", 1)
        case ast.Attribute(value=pool, attr="submit" | "map") if _made_by(names, pool, POOLS):
            return argument(call, "fn", 0)
    return None


def _is_carried(names: Names, work: ast.expr) -> bool:
    """`carry(f)`, a name that was given one, or the `run` of a copied context."""
    if isinstance(work, ast.Attribute) and work.attr == "run":
        return _made_by(names, work.value, ("contextvars.copy_context",))
    return _made_by(names, work, CARRY)


def _made_by(names: Names, node: ast.expr, paths: tuple[str, ...]) -> bool:
    """Whether it is a call of one of these, or a name that was given one."""
    values = given(node, node.id) if isinstance(node, ast.Name) else [node]
    return any(isinstance(v, ast.Call) and names.path(v.func) in paths for v in values)

"""What `manage.py shards` prints for a person; each table fits a terminal of 80 columns."""

from collections.abc import Sequence

from rich.table import Table

from routers.inspection.audit import Problem
from routers.inspection.largest import AccountLoad
from routers.inspection.status import ShardStatus

__all__ = ["load_table", "problem_table", "status_table"]


def status_table(statuses: Sequence[ShardStatus]) -> Table:
    """A row a shard; `~` before an estimate, `?` for what is not known."""
    with_replicas = any(status.replicas for status in statuses)
    heads = ["shard", "host", "PG", "slots", "accounts", "rows", "size", "conns"]
    table = _table(*heads, *(["lag"] if with_replicas else []), "schema", right=range(3, 8))
    for status in statuses:
        if status.error is not None:
            table.add_row(status.shard, "away", "", str(status.slots), *["?"] * (len(heads) - 3))
            continue
        about = "" if status.rows_are_exact else "~"
        table.add_row(
            status.shard,
            status.host or "?",
            status.version or "",
            str(status.slots),
            _number(status.accounts),
            about + _number(status.rows),
            _size(status.size_bytes),
            "" if status.connections is None else str(status.connections),
            *([_lags(status)] if with_replicas else []),
            f"{len(status.unapplied)} to apply" if status.unapplied else "ok",
        )
    return table


def load_table(loads: Sequence[AccountLoad], hours: float) -> Table:
    """A row an account."""
    heads = ("account", "shard", "rows", "size", f"new in {hours:g} h")
    table = _table(*heads, right=(0, 2, 3, 4))
    for load in loads:
        about = "" if load.exact else "~"
        size = "" if load.size_bytes is None else f"~{_size(load.size_bytes)}"
        cells = (about + _number(load.rows), size, _number(load.new_rows))
        table.add_row(str(load.account), load.shard, *cells)
    return table


def problem_table(problems: Sequence[Problem]) -> Table:
    """A row a problem."""
    table = _table("problem", "where", "what was found", right=())
    for problem in problems:
        table.add_row(problem.kind, problem.where, problem.text)
    return table


def _table(*heads: str, right: Sequence[int]) -> Table:
    table = Table(*heads, box=None, pad_edge=False, header_style="bold", collapse_padding=True)
    for number, column in enumerate(table.columns):
        column.justify = "right" if number in right else "left"
        # Numbers stay whole; addresses and texts are folded where the terminal is narrow.
        column.no_wrap = number in right or number == 0
        column.overflow = "fold"
    return table


def _number(number: int | None) -> str:
    return "?" if number is None else f"{number:,}"


def _size(size: int | None) -> str:
    if size is None:
        return "?"
    return f"{size / 2**20:,.1f} MB" if size < 2**30 else f"{size / 2**30:,.1f} GB"


def _lags(status: ShardStatus) -> str:
    """Seconds behind, of each replica."""
    lags = [
        "away" if r.error else "?" if r.lag_seconds is None else f"{r.lag_seconds:.1f} s"
        for r in status.replicas.values()
    ]
    return ", ".join(lags)

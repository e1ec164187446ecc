"""The tables that an account's rows are in, as they are moved and compared."""

from dataclasses import dataclass
from typing import Any

from django.db import models

from routers.placement import Placement, placement_of, sharded_models

__all__ = ["MovedTable", "tables_of"]

# Types whose hash is the same for equal bytes only. All others are hashed as text: 1.0 and 1.00,
# -0 and 0, 'a' and 'A' of citext are equal to PostgreSQL, and some types have no hash at all.
EXACT = frozenset(
    "bool int2 int4 int8 uuid date time timestamp timestamptz bytea inet cidr macaddr".split()
)
TEXTS = frozenset({"text", "varchar"})
COLUMNS = """
    SELECT attname, typname, attgenerated <> '' FROM pg_attribute JOIN pg_type y ON y.oid = atttypid
    WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attname
"""


@dataclass(frozen=True)
class MovedTable:
    """All names are quoted. `digest` is SQL: a 64-bit hash of all columns of one row.

    `references` are (column, table, its column) of each foreign key to a reference model.
    """

    plain_name: str
    name: str
    columns: str
    digest: str
    references: tuple[tuple[str, str, str], ...]


def tables_of(cursor: Any) -> list[MovedTable]:
    """Every sharded table, by its columns on that shard."""
    return [_table(cursor, model) for model in sharded_models()]


def _table(cursor: Any, model: type[models.Model]) -> MovedTable:
    table = model._meta.db_table
    cursor.execute(COLUMNS, [_quoted(table)])
    found = [(_quoted(name), kind, generated) for name, kind, generated in cursor.fetchall()]
    hashed = ", ".join(_hashed(name, kind) for name, kind, _ in found)
    return MovedTable(
        table,
        _quoted(table),
        ", ".join(name for name, _, generated in found if not generated),
        f"hash_record_extended(ROW({hashed}), 0)",
        tuple(
            (
                _quoted(field.column),
                _quoted(parent._meta.db_table),
                _quoted(field.target_field.column),
            )
            for field, parent in _references(model)
        ),
    )


def _hashed(name: str, kind: str) -> str:
    if kind in EXACT:
        return name
    return f'{name} COLLATE "C"' if kind in TEXTS else f'{name}::text COLLATE "C"'


def _references(model: type[models.Model]) -> list[tuple[Any, Any]]:
    return [
        (field, field.related_model)
        for field in model._meta.local_concrete_fields
        if isinstance(field, models.ForeignKey)
        and placement_of(field.related_model) is Placement.REFERENCE
    ]


def _quoted(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'

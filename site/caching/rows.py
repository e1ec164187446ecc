"""Rows of a query as plain columns, and back: model instances, dicts, tuples, single values.

A table of instances is [names, kinds, columns, related, backs]: the names are those of the
instances' attributes, annotations included. `related`: [name, where, table] for each select_related
relation, `where` being each row's row in that table, or None. `backs`: relations that lead back to
the row that this one was reached from (one-to-one).
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from django.db import models
from django.db.models.base import ModelState
from django.db.models.signals import post_init, pre_init

from caching.codec import NotPlain, pack_column, unpack_column

__all__ = ["pack_rows", "unpack_rows"]

Skipped = frozenset[str]


def pack_rows(form: str, model: type[models.Model], rows: Sequence[Any], skipped: Skipped) -> Any:
    """[form, …] of rows that are "instances", "dicts", "tuples" or "values". Raises NotPlain.

    `skipped`: relations that the queryset fills in by itself (known related objects).
    """
    if not rows and form:
        return ["none"]
    kinds = set(map(type, rows))
    if form == "instances" and kinds == {model}:
        return [form, _pack(rows, skipped, None), len(rows)]
    if form == "dicts":
        columns = _pack_columns([list(row.values()) for row in rows])
        return [form, list(rows[0]), *columns, len(rows)]
    if form == "tuples":
        return [form, *_pack_columns(rows), len(rows)]
    if form == "values":
        return [form, *pack_column(rows), len(rows)]
    raise NotPlain(f"rows of {model._meta.label} that are {kinds}")


def unpack_rows(model: type[models.Model], packed: Any, alias: str) -> list[Any]:
    """The rows, instances as of that database."""
    match packed:
        case ["none"]:
            return []
        case ["instances", table, number]:
            return _unpack(model, table, number, alias)
        case ["dicts", names, kinds, columns, number]:
            return [
                dict(zip(names, row, strict=True))
                for row in _unpack_columns(kinds, columns, number)
            ]
        case ["tuples", kinds, columns, number]:
            return list(_unpack_columns(kinds, columns, number))
        case ["values", kind, column, number]:
            return list(unpack_column(kind, column, number))
    raise NotPlain("rows of an unknown form")


def _pack_columns(rows: Sequence[Sequence[Any]]) -> tuple[list[str], list[Any]]:
    packed = [pack_column(column) for column in zip(*rows, strict=True)]
    return [kind for kind, _ in packed], [column for _, column in packed]


def _unpack_columns(kinds: list[str], columns: list[Any], number: int) -> Any:
    """Tuples, one a row."""
    values = [
        column if kind == "" and column is not None else unpack_column(kind, column, number)
        for kind, column in zip(kinds, columns, strict=True)
    ]
    return zip(*values, strict=True) if values else [()] * number


def _pack(rows: Sequence[Any], skipped: Skipped, parents: Sequence[Any] | None) -> list[Any]:
    first = rows[0]
    names = [name for name in first.__dict__ if name not in ("_state", "_prefetched_objects_cache")]
    if any(len(row.__dict__) != len(first.__dict__) for row in rows):
        raise NotPlain("rows of one query that have not the same attributes")
    kinds, columns = _pack_columns([[row.__dict__[name] for name in names] for row in rows])
    related, backs = [], []
    for name in first._state.fields_cache:
        if name in skipped:
            continue
        others = [row._state.fields_cache[name] for row in rows]
        if parents is not None and all(a is b for a, b in zip(others, parents, strict=True)):
            backs.append(name)
        else:
            related.append(_pack_related(name, rows, others))
    return [names, kinds, columns, related, backs]


def _pack_related(name: str, rows: Sequence[Any], others: Sequence[Any]) -> list[Any]:
    """Each related row once, however many rows lead to it."""
    places: dict[Any, int] = {}
    kept: list[Any] = []
    parents: list[Any] = []
    where: list[int | None] = []
    for row, other in zip(rows, others, strict=True):
        if other is not None and other.pk not in places:
            places[other.pk] = len(kept)
            kept.append(other)
            parents.append(row)
        where.append(None if other is None else places[other.pk])
    return [name, where, _pack(kept, frozenset(), parents) if kept else None, len(kept)]


def _unpack(model: type[models.Model], table: Any, number: int, alias: str) -> list[Any]:
    names, kinds, columns, related, _ = table
    values = _unpack_columns(kinds, columns, number)
    make = _maker(model, names, alias)
    rows = list(map(make, values))
    for name, where, table_of_other, count in related:
        _relate(rows, name, where, table_of_other, count, alias)
    return rows


def _relate(
    rows: list[Any], name: str, where: list[int | None], table: Any, count: int, alias: str
) -> None:
    """Every row gets an instance of its own, as Django makes them."""
    if table is None:
        for row in rows:
            row._state.fields_cache[name] = None
        return
    parent: Any = type(rows[0])
    other_model = _model_of(parent, name)
    names, kinds, columns, further, backs = table
    values = list(_unpack_columns(kinds, columns, count))
    make = _maker(other_model, names, alias)
    others: list[Any] = []
    for row, place in zip(rows, where, strict=True):
        other: Any = None if place is None else make(values[place])
        row._state.fields_cache[name] = other
        others.append(other)
        for back in backs if other is not None else ():
            other._state.fields_cache[back] = row
    there = [(other, place) for other, place in zip(others, where, strict=True) if other]
    for deeper, deeper_where, deeper_table, deeper_count in further:
        mapped = [deeper_where[place] for _, place in there if place is not None]
        _relate([o for o, _ in there], deeper, mapped, deeper_table, deeper_count, alias)


@cache
def _model_of(model: Any, name: str) -> type[models.Model]:
    """The model that a relation's cache name leads to."""
    for field in model._meta.get_fields():
        if field.is_relation and getattr(field, "cache_name", None) == name:
            return field.related_model
    raise NotPlain(f"{model._meta.label} has no relation {name}")


def _maker(model: type[models.Model], names: list[str], alias: str) -> Callable[[Any], Any]:
    """Makes an instance of a row's values, as `Model.from_db` would.

    A model without an `__init__`, a `from_db` or signals of its own needs none of them called.
    """
    if _is_plain(model) and not (_is_heard(pre_init, model) or _is_heard(post_init, model)):
        return _bare_maker(model, names, alias)
    attributes = {field.attname for field in model._meta.concrete_fields}
    fields = [name for name in names if name in attributes]
    extra = [name for name in names if name not in attributes]

    def make(values: Any) -> Any:
        given = dict(zip(names, values, strict=True))
        row = model.from_db(alias, fields, [given[name] for name in fields])
        for name in extra:
            setattr(row, name, given[name])
        return row

    return make


def _bare_maker(model: type[models.Model], names: list[str], alias: str) -> Callable[[Any], Any]:
    new = model.__new__

    def make(values: Any) -> Any:
        row, state = new(model), ModelState()
        state.__dict__ = {"db": alias, "adding": False}
        row.__dict__ = dict(zip(names, values))  # noqa: B905 - as long as each other, and fast
        row._state = state
        return row

    return make


def _is_heard(signal: Any, model: Any) -> bool:
    return bool(signal.receivers) and signal.has_listeners(model)


@cache
def _is_plain(model: Any) -> bool:
    made_as_usual = model.__init__ is models.Model.__init__
    return made_as_usual and model.from_db.__func__ is models.Model.from_db.__func__  # type: ignore[attr-defined]

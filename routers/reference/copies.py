"""The rows of reference models: a shard's copy against the catalog, and made equal to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from django.db import IntegrityError, connections, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.constants import OnConflict

from routers.conf import CATALOG
from routers.exceptions import RoutingError
from routers.placement import reference_models

__all__ = ["CARRYING", "Difference", "differences", "in_use_named", "make_equal"]

# While a transaction has this set, a copy may be written: see routers.reference.copy_guard.
CARRYING = "routers.carrying"


@dataclass(frozen=True)
class Difference:
    """Primary keys of one model that one shard lacks, has too many, or has with other values."""

    shard: str
    model: str
    missing: list[Any]
    extra: list[Any]
    changed: list[Any]

    def __str__(self) -> str:
        parts = [
            f"{len(keys)} {what}: {', '.join(map(str, keys[:5]))}{' …' if len(keys) > 5 else ''}"
            for what in ("missing", "extra", "changed")
            if (keys := getattr(self, what))
        ]
        return f"{self.shard} {self.model}: {'; '.join(parts)}"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def differences(shard: str) -> list[Difference]:
    """What a shard's copies have other than the catalog, at the moment that each is read."""
    found = [_difference(shard, model) for model in reference_models()]
    return [one for one in found if one.missing or one.extra or one.changed]


def make_equal(shard: str) -> dict[str, int]:
    """Make a shard's copies equal to the catalog in one transaction.

    Returns label → rows changed. Rows that are equal are not touched, so nobody waits for them. The
    catalog is read after the copies are locked: of two at the same time, the later reads later.
    Models whose table is not there yet are left out.
    """
    there = _tables(CATALOG) & _tables(shard)
    every = [model for model in reference_models() if model._meta.db_table in there]
    carrying = _carrying(connections[shard], every)
    with in_use_named(shard), transaction.atomic(using=shard), carrying:
        return {model._meta.label: _make_equal(shard, model) for model in every}


@contextmanager
def in_use_named(shard: str) -> Iterator[None]:
    """Turns a foreign key's refusal to let a row go, at the commit in the block, into RoutingError.

    Raised where a shard's rows refer to a reference row that the catalog has not.
    """
    try:
        yield
    except IntegrityError as error:
        raise RoutingError(
            f"{shard} refers to a reference row that the catalog has not, so its copy was left as "
            f"it was: {str(error).strip()} Store that row in the catalog again, or change the rows "
            f"that refer to it. `manage.py reference check {shard}` names it."
        ) from error


def _difference(shard: str, model: type[models.Model]) -> Difference:
    wanted, found = _rows(CATALOG, model), _rows(shard, model)
    return Difference(
        shard,
        model._meta.label,
        missing=sorted(wanted.keys() - found.keys()),
        extra=sorted(found.keys() - wanted.keys()),
        changed=sorted(key for key in wanted.keys() & found.keys() if wanted[key] != found[key]),
    )


def _make_equal(shard: str, model: type[models.Model]) -> int:
    wanted, found = _rows(CATALOG, model), _rows(shard, model)
    extra = found.keys() - wanted.keys()
    stale = [key for key, row in wanted.items() if found.get(key) != row]
    copies: Any = models.QuerySet(model, using=shard)
    # Without Django's collector. The shard's own foreign keys refuse the deletion of a row in use.
    copies.filter(pk__in=extra)._raw_delete(using=shard)
    _store(shard, model, [model.from_db(CATALOG, _names(model), wanted[key]) for key in stale])
    return len(extra) + len(stale)


def _store(shard: str, model: type[models.Model], rows: list[models.Model]) -> None:
    """As they are: `raw`, or an auto_now field would get the time of the copy."""
    fields = _fields(model)
    others = [field for field in fields if not field.primary_key]
    size = max(connections[shard].ops.bulk_batch_size(fields, rows), 1)
    copies: Any = models.QuerySet(model, using=shard)
    for start in range(0, len(rows), size):
        copies._insert(
            rows[start : start + size],
            fields=fields,
            raw=True,
            using=shard,
            on_conflict=OnConflict.UPDATE if others else OnConflict.IGNORE,
            update_fields=others,
            unique_fields=[model._meta.pk],
        )


def _rows(alias: str, model: type[models.Model]) -> dict[Any, tuple[Any, ...]]:
    """Primary key → values, in the order of `_names`."""
    names = _names(model)
    key = names.index(str(model._meta.pk.attname))
    rows: models.QuerySet[Any] = models.QuerySet(model, using=alias)
    return {row[key]: row for row in rows.order_by().values_list(*names)}


def _fields(model: type[models.Model]) -> list[Any]:
    return [field for field in model._meta.concrete_fields if not field.generated]


def _names(model: type[models.Model]) -> list[str]:
    return [field.attname for field in _fields(model)]


def _tables(alias: str) -> set[str]:
    return set(connections[alias].introspection.table_names())


@contextmanager
def _carrying(connection: BaseDatabaseWrapper, every: list[type[models.Model]]) -> Iterator[None]:
    """Copies may be written in the block, and nobody else writes them; inside a transaction."""
    names = [connection.ops.quote_name(model._meta.db_table) for model in every]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(f"SET LOCAL {CARRYING} = 'on'")
            if names:
                cursor.execute(f"LOCK TABLE {', '.join(names)} IN SHARE ROW EXCLUSIVE MODE")
        elif names:  # any write takes SQLite's lock, which is the whole database's
            cursor.execute(f"DELETE FROM {names[0]} WHERE 0 = 1")  # noqa: S608 - our own table
        yield
        if connection.vendor == "postgresql":
            cursor.execute(f"SET LOCAL {CARRYING} = 'off'")

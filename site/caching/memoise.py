"""Methods and properties of a row that are computed once.

class Order(CachingMixin, ShardedModel):
    @cached_method(seconds=600)
    def total(self, currency="EUR"):        # on Redis, for everybody who has this row
        return self.lines.aggregate(n=Sum("price"))["n"]

    @memoised_property
    def discount(self):                     # in this object, until it is saved or read again
        return self.customer.discount_for(self)

order.forget("discount")                    # or now; order.forget() forgets all of them
"""

from collections.abc import Callable, Iterable
from copy import copy
from functools import cache, partial, wraps
from typing import Any, Generic, TypeVar, overload

from django.db import models
from django.db.models.base import ModelState

from caching.codec import NotPlain
from caching.computed import Table, cached
from caching.conf import settings
from caching.plainness import pack_value
from routers.guards import refuse_foreign_instance, required_scope
from routers.placement import is_sharded

__all__ = ["Memoises", "cached_method", "memoised_property"]

T = TypeVar("T")
Method = TypeVar("Method", bound=Callable[..., Any])


def cached_method(
    seconds: int | None = None, *, tables: Iterable[Table] = (), **options: Any
) -> Callable[[Method], Method]:
    """A model's method whose value is kept for the row, its values and the arguments.

    It is good until its account writes anything, or anybody writes to `tables` (cached global and
    reference models that the method reads). Of a global model, which belongs to no account, until
    somebody writes to its own table or to those. `options`: `on_miss`, `wait`, `stale`, as of
    `caching.cached`.

    It is computed by a copy of the row that has the row's values, changed ones too, and none of the
    related objects that were read before: they may have changed since. Arguments are plain values
    or rows, else TypeError is raised. A row that is not stored yet, or has a value that is not
    plain, computes every time.
    """

    def decorate(method: Method) -> Method:
        @wraps(method)
        def inside(row: Any, *args: Any, **kwargs: Any) -> Any:
            if is_sharded(type(row)):
                refuse_foreign_instance(required_scope(type(row)), row)
            values = _values(row) if settings().enabled else None
            if row.pk is None or values is None:
                return method(row, *args, **kwargs)
            label = f"{row._meta.label}.{method.__name__}"
            key = (label, repr(sorted(values.items())), args, sorted(kwargs.items()))
            compute = partial(method, _copied(row, values), *args, **kwargs)
            if is_sharded(type(row)):
                return cached(key, compute, seconds=seconds, tables=tables, **options)
            all_tables = (type(row), *tables)
            return cached(key, compute, seconds=seconds, tables=all_tables, shared=True, **options)

        return inside  # type: ignore[return-value]

    return decorate


def _values(row: Any) -> dict[str, Any] | None:
    """What the row is made of, as plain values; None where a field's is none."""
    found = {}
    fields = {field.attname for field in row._meta.concrete_fields}
    for name, value in row.__dict__.items():
        if name == "_state" or isinstance(getattr(type(row), name, None), memoised_property):
            continue
        try:
            found[name] = pack_value(value)
        except NotPlain:
            if name in fields:
                return None
    return found


def _copied(row: Any, values: dict[str, Any]) -> Any:
    """The row without what it has read before."""
    state = ModelState()
    state.db, state.adding = row._state.db, row._state.adding
    made = copy(row)
    made.__dict__ = {name: row.__dict__[name] for name in values} | {"_state": state}
    return made


class memoised_property(Generic[T]):
    """A property of a model with `Memoises` that is computed once for each object."""

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self.compute, self.__doc__ = compute, compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name
        if not issubclass(owner, Memoises):
            raise TypeError(
                f"{owner.__name__}.{name} would never be computed again. Name Memoises (or "
                f"CachingMixin) first among the bases of {owner.__name__}."
            )

    @overload
    def __get__(self, row: None, owner: type) -> "memoised_property[T]": ...
    @overload
    def __get__(self, row: Any, owner: type) -> T: ...
    def __get__(self, row: Any, owner: type) -> Any:
        if row is None:
            return self
        value = row.__dict__[self.name] = self.compute(row)  # which hides this descriptor
        return value


class Memoises:
    """A model whose memoised properties are forgotten when it is saved or read again.

    It stands before the model bases, whose save() and refresh_from_db() call no further. Values of
    other objects of the same row are not forgotten, and `QuerySet.update()` knows of no objects.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        order = cls.__mro__
        if models.Model in order and order.index(models.Model) < order.index(Memoises):
            raise TypeError(f"{cls.__name__} must name Memoises before its model bases.")

    def forget(self, *names: str) -> None:
        """Compute these properties anew when they are asked for next; without names, all.

        Raises AttributeError for a name that is no memoised property.
        """
        kind: Any = type(self)
        known = _memoised(kind)
        if unknown := set(names) - known:
            raise AttributeError(
                f"{kind.__name__} memoises {', '.join(sorted(known)) or 'nothing'}, and not "
                f"{', '.join(sorted(unknown))}."
            )
        for name in names or known:
            self.__dict__.pop(name, None)

    def save(self, *args: Any, **kwargs: Any) -> None:
        super().save(*args, **kwargs)  # type: ignore[misc]
        self.forget()

    def refresh_from_db(self, *args: Any, **kwargs: Any) -> None:
        super().refresh_from_db(*args, **kwargs)  # type: ignore[misc]
        self.forget()


@cache
def _memoised(owner: type) -> frozenset[str]:
    return frozenset(
        name
        for base in owner.__mro__
        for name, value in vars(base).items()
        if isinstance(value, memoised_property)
    )

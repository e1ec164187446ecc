"""A queryset that remembers what it was asked and builds its query only when somebody looks at it.

Building and copying Django's Query is what a cached answer would cost most. So `filter`, `exclude`,
`order_by`, `select_related`, slices and the like are written down as steps, as long as their
arguments are plain; whatever else is called builds the query from them first, by Django's own
methods, and goes on as usual. A step of a shape that this process has not seen yet is tried at
once, so a wrong field name raises where it stands, as in Django.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.db import models
from django.db.models import Q
from django.db.models.query import ModelIterable

from caching.shapes import NotUnderstood, Step, is_lazy, plain, settled, shape_of

__all__ = ["RecordedQuerySet"]

CONDITIONS = frozenset({"filter", "exclude"})
MOST_SHAPES = 10_000

# (model, class, shape) of steps that were tried, and whether they may be left untried.
_tried: dict[Any, bool] = {}

FRESH: dict[str, Any] = {
    "_result_cache": None,
    "_sticky_filter": False,
    "_for_write": False,
    "_prefetch_related_lookups": (),
    "_prefetch_done": False,
    "_known_related_objects": {},
    "_made_by": ModelIterable,
    "_fields_made": None,
    "_defer_next_filter": False,
    "_deferred_filter": None,
    "_built": None,
    "_steps": (),
    "_shape": (),
}


def _of_conditions(method: str) -> Callable[..., Any]:
    """Django's method of that name, which takes Qs and named values."""

    @wraps(getattr(models.QuerySet, method))
    def recorded(self: Any, *args: Any, **kwargs: Any) -> Any:
        step = self._step(method, args, kwargs)
        if step is None:  # `or` would ask a queryset for its rows
            return getattr(super(RecordedQuerySet, self), method)(*args, **kwargs)
        return step

    return recorded


def _of_names(method: str) -> Callable[..., Any]:
    """Django's method of that name, which takes names of fields."""

    @wraps(getattr(models.QuerySet, method))
    def recorded(self: Any, *names: Any) -> Any:
        step = self._named_step(method, names)
        if step is None:
            return getattr(super(RecordedQuerySet, self), method)(*names)
        return step

    return recorded


class RecordedQuerySet(models.QuerySet[Any]):
    """`_steps` is None once the query is built; `_shape` has the shape of each step."""

    _built: Any = None
    _made_by: Any = ModelIterable
    _fields_made: Any = None
    _steps: tuple[Step, ...] | None = None
    _shape: tuple[Any, ...] = ()

    # Django's own, which its types do not tell.
    _prefetch_done: bool
    _for_write: bool
    _sticky_filter: bool
    _hints: dict[str, Any]
    _known_related_objects: dict[Any, Any]

    def _begin(self, model: Any, using: Any, hints: Any) -> None:
        """Instead of `__init__`: a queryset without a query."""
        self.__dict__.update(FRESH)
        self.model, self._db, self._hints = model, using, hints or {}
        self._known_related_objects = {}

    def _empty(self) -> Any:
        """A queryset of this class, scope and database with a query of its own, without steps."""
        raise NotImplementedError

    @property
    def _query(self) -> Any:
        if self._steps is not None:
            built = self._replayed()
            self._built, self._steps = built._built, None
            self._made_by, self._fields_made = built._made_by, built._fields_made
        return self._built

    @_query.setter
    def _query(self, query: Any) -> None:
        self._built, self._steps = query, None

    @property
    def _iterable_class(self) -> Any:
        """Django's; what makes rows is known once the query is built."""
        self._query  # noqa: B018
        return self._made_by

    @_iterable_class.setter
    def _iterable_class(self, made_by: Any) -> None:
        self._made_by = made_by

    @property
    def _fields(self) -> Any:
        self._query  # noqa: B018
        return self._fields_made

    @_fields.setter
    def _fields(self, names: Any) -> None:
        self._fields_made = names

    def _replayed(self) -> Any:
        built = self._empty()
        for method, args, named in self._steps or ():
            if method == "[:]":
                built = built[args[0]]
            elif method == "values_list":
                built = built.values_list(*args[:-1], flat=args[-1])
            else:
                built = getattr(built, method)(*args, **dict(named))
        return built

    def _clone(self) -> Any:
        if self._steps is None:
            return super()._clone()  # type: ignore[misc]
        clone = object.__new__(type(self))
        clone.__dict__.update(self.__dict__)
        clone._result_cache, clone._prefetch_done = None, False
        clone._hints = self._hints.copy()
        return clone

    def _step(self, method: str, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """A clone with one more step; None where it cannot be one."""
        if self._steps is None or self._sticky_filter:
            return None
        if args and method in CONDITIONS:
            args, named = (), _simple(args, named)
            if not named:
                return None
        step: Step = (method, args, settled(named) if named else ())
        try:
            shape = shape_of(step)
            key = (self.model, type(self), shape)
            is_good = _tried.get(key)
        except TypeError:  # something that cannot be hashed
            return None
        if is_good is None:
            is_good = self._is_good(step)
            if len(_tried) < MOST_SHAPES:
                _tried[key] = is_good
        return self._with(step, shape) if is_good else None

    def _is_good(self, step: Step) -> bool:
        """Whether such a step may be left untried. Raises what Django has against the first one."""
        if step[0] in CONDITIONS and not is_lazy(self.model, step[2]):
            return False
        self._with(step, None)._query  # noqa: B018
        return True

    def _with(self, step: Step, shape: Any) -> Any:
        clone = self._clone()
        clone._defer_next_filter = False
        clone._steps, clone._shape = (*self._steps, step), (*self._shape, shape)  # type: ignore[misc]
        return clone

    def _question(self) -> str | None:
        """The steps as text, which no other steps have; None where there are none, or not plain."""
        if self._steps is None:
            return None
        try:
            return repr(
                [
                    (method, args, [(name, plain(value)) for name, value in named] if named else ())
                    for method, args, named in self._steps
                ]
            )
        except NotUnderstood:
            return None

    # Django's methods, as steps where that is possible.

    filter = _of_conditions("filter")
    exclude = _of_conditions("exclude")
    order_by = _of_names("order_by")
    select_related = _of_names("select_related")
    distinct = _of_names("distinct")
    only = _of_names("only")
    defer = _of_names("defer")
    reverse = _of_names("reverse")

    def values_list(self, *names: Any, flat: bool = False, named: bool = False) -> Any:
        step = None if named else self._named_step("values_list", names, flat=flat)
        return super().values_list(*names, flat=flat, named=named) if step is None else step

    def values(self, *names: Any, **expressions: Any) -> Any:
        step = None if expressions else self._named_step("values", names)
        return super().values(*names, **expressions) if step is None else step

    def _named_step(self, method: str, names: tuple[Any, ...], **options: Any) -> Any:
        """A step whose arguments are names of fields: they belong to its shape."""
        if all(type(name) is str for name in names):
            return self._step(method, (*names, *options.values()), {})
        return None

    def __getitem__(self, k: Any) -> Any:
        is_plain = isinstance(k, slice) and all(
            part is None or (type(part) is int and part >= 0) for part in (k.start, k.stop)
        )
        if self._result_cache is None and is_plain and k.step is None:
            step = self._step("[:]", (k,), {})
            if step is not None:
                return step
        return super().__getitem__(k)

    @property
    def ordered(self) -> bool:
        for method, args, _ in reversed(self._steps or ()):
            if method == "order_by" and args:
                return True
        return super().ordered


def _simple(conditions: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
    """Qs that are nothing but named arguments, as those: relations are asked for so. Else {}."""
    found = dict(named)
    for condition in conditions:
        if type(condition) is not Q or condition.negated or condition.connector != Q.AND:
            return {}
        for child in condition.children:
            if not isinstance(child, tuple) or child[0] in found:
                return {}
            found[child[0]] = child[1]
    return found

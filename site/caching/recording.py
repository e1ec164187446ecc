"""A queryset that remembers what it was asked and builds its query only when somebody looks at it.

`filter`, `exclude`, `order_by`, `select_related`, slices and the like are written down as steps, as
long as their arguments are plain; whatever else is called builds the query from them first, by
Django's own methods, and goes on as usual. A step of a shape that this process has not seen yet is
tried at once, so a wrong field name raises where it stands, as in Django.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.db import models
from django.db.models import Q

from caching.shapes import Step, is_lazy, settled, shape_of
from caching.unbuilt import UnbuiltQuerySet

__all__ = ["RecordedQuerySet"]

CONDITIONS = frozenset({"filter", "exclude"})
MOST_SHAPES = 10_000

# (model, class, shape) of steps that were tried, and whether they may be left untried.
_tried: dict[Any, bool] = {}


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


class RecordedQuerySet(UnbuiltQuerySet):
    """Whose methods are steps, as long as that is possible."""

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

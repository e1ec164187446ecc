"""A queryset that has no query yet: the steps by which it will be built, when somebody looks at it.

Building and copying Django's Query is what a cached answer would cost most.
"""

from typing import Any

from django.db import models
from django.db.models.query import ModelIterable

from caching.shapes import NotUnderstood, Step, plain

__all__ = ["UnbuiltQuerySet"]

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


class UnbuiltQuerySet(models.QuerySet[Any]):
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

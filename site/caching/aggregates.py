"""What an aggregate asks, as text: `aggregate(Sum("price"), n=Count("id", distinct=True))`."""

from typing import Any

from django.db.models import Avg, Count, F, Max, Min, StdDev, Sum, Variance
from django.db.models.expressions import Star

from caching.shapes import NotUnderstood

__all__ = ["named", "told"]

KNOWN = frozenset({Avg, Count, Max, Min, StdDev, Sum, Variance})


def named(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """All of them by their names. Raises NotUnderstood where Django has something against one."""
    found = dict(kwargs)
    for aggregate in args:
        if type(aggregate) not in KNOWN:
            raise NotUnderstood(type(aggregate).__name__)
        try:
            found[aggregate.default_alias] = aggregate
        except (AttributeError, TypeError) as error:
            raise NotUnderstood(type(aggregate).__name__) from error
    return found


def told(aggregates: dict[str, Any]) -> tuple[Any, ...]:
    """Aggregates of single fields, so that repr() says all about them. Raises NotUnderstood."""
    return tuple((name, *_told(aggregate)) for name, aggregate in aggregates.items())


def _told(aggregate: Any) -> tuple[Any, ...]:
    kind = type(aggregate)
    sources = aggregate.get_source_expressions() if kind in KNOWN else []
    fields = [source for source in sources if source is not None]
    if len(fields) != 1 or aggregate.default is not None or aggregate.extra:
        raise NotUnderstood(kind.__name__)
    if "output_field" in vars(aggregate):
        raise NotUnderstood("output_field")
    (field,) = fields
    if type(field) is F:
        name = field.name  # type: ignore[attr-defined]
    elif type(field) is Star:
        name = "*"
    else:
        raise NotUnderstood(type(field).__name__)
    return kind.__name__, name, aggregate.distinct, getattr(aggregate, "function", "")

"""Aggregates over several shards: what each is asked, and how the answers are put together."""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any

from django.db import connections
from django.db.models import Avg, Count, Max, Min, Sum
from django.db.models.expressions import Star

from routers.exceptions import NotDivisible
from routers.fanout.compare import binary_text, comparable
from routers.fanout.divide import is_whole

__all__ = ["Combined"]

Answers = list[dict[str, Any]]


@dataclass(frozen=True)
class Combined:
    """One aggregate under its name. Raises NotDivisible where answers cannot be added up."""

    name: str
    aggregate: Any
    model: Any

    def check(self, queryset: Any) -> None:
        """Refuse what cannot be put together."""
        aggregate = self.aggregate
        if type(aggregate) not in (Avg, Count, Max, Min, Sum):
            self._refuse(
                f"{aggregate!r} cannot be put together from each shard's answer. Count, Sum, Min, "
                f"Max and Avg can; compute the rest from them, or from the rows"
            )
        if hasattr(aggregate.default, "resolve_expression"):
            self._refuse("default takes a value here, not an expression")
        if aggregate.distinct and not isinstance(aggregate, Max | Min):
            self._check_distinct(queryset)

    def asked(self, queryset: Any, alias: str) -> dict[str, Any]:
        """The aggregates for one shard, under names of their own."""
        bare: Any = self.aggregate.copy()
        bare.default = None
        if isinstance(bare, Avg):
            source, options = bare.get_source_expressions()[0], _options(bare)
            return {
                f"{self.name}__total": Sum(source, **options),
                f"{self.name}__number": Count(source, **options),
            }
        if isinstance(bare, Max | Min):
            source = self._resolved(queryset)
            compared = binary_text(source, connections[alias])
            if compared is not source:
                bare.set_source_expressions([compared, bare.filter])
        return {self.name: bare}

    def of(self, answers: Answers, queryset: Any) -> Any:
        """The aggregate over all shards."""
        if isinstance(self.aggregate, Avg):
            value = self._average(answers, queryset)
        else:
            values = [answer[self.name] for answer in answers if answer[self.name] is not None]
            value = self._joined(queryset)(values) if values else None
        if value is None:
            return 0 if isinstance(self.aggregate, Count) else self.aggregate.default
        return value

    def _joined(self, queryset: Any) -> Callable[[list[Any]], Any]:
        if isinstance(self.aggregate, Count | Sum):
            return lambda values: reduce(operator.add, values)
        pick = max if isinstance(self.aggregate, Max) else min
        key = comparable(self._resolved(queryset).output_field, self.model._meta.label)
        return lambda values: pick(values, key=key)

    def _average(self, answers: Answers, queryset: Any) -> Any:
        totals = [a[f"{self.name}__total"] for a in answers if a[f"{self.name}__number"]]
        if not totals:
            return None
        number = sum(answer[f"{self.name}__number"] for answer in answers)
        field = Avg(self._resolved(queryset)).output_field
        return field.to_python(reduce(operator.add, totals) / number)

    def _check_distinct(self, queryset: Any) -> None:
        if not is_whole(queryset.query, self._resolved(queryset)):
            self._refuse(
                "equal values on several shards cannot be told apart by their counts. Use "
                "`len(set(fan_out(query.values_list(field, flat=True))))`, or count a key or "
                "account_id"
            )

    def _resolved(self, queryset: Any) -> Any:
        source = self.aggregate.get_source_expressions()[0]
        if isinstance(source, Star):
            return source
        query = queryset.query.chain()
        return source.resolve_expression(query, allow_joins=True, reuse=None, summarize=False)

    def _refuse(self, why: str) -> None:
        raise NotDivisible(f"{self.model._meta.label}, aggregate {self.name}: {why}.")


def _options(aggregate: Any) -> dict[str, Any]:
    return {"filter": aggregate.filter, "distinct": aggregate.distinct}

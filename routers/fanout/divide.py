"""Which queries can be answered shard by shard, and the query that each shard gets.

A row lives on one shard, and so does everything of one account. What sets rows of several shards
against each other (groups, duplicates, windows) can be divided only where each group is a row's or
an account's own.
"""

import copy
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

from django.db import models
from django.db.models.expressions import Col, Window
from django.db.models.functions import Random
from django.db.models.query import (
    FlatValuesListIterable,
    ModelIterable,
    NamedValuesListIterable,
    ValuesIterable,
    ValuesListIterable,
)
from django.db.models.sql import Query

from routers.context import Scope
from routers.exceptions import CrossAccount, NotDivisible, RoutingError
from routers.placement import Placement, is_sharded, placement_of
from routers.query import AccountQuery

__all__ = ["divisible", "is_whole", "on_shard", "parts"]

EVERY_ACCOUNT = Scope()
ITERABLES = (
    ModelIterable,
    ValuesIterable,
    ValuesListIterable,
    NamedValuesListIterable,
    FlatValuesListIterable,
)


def divisible(queryset: Any) -> None:
    """Refuse what cannot be read shard by shard.

    Raises RoutingError for what is no query of all accounts of a sharded model, and NotDivisible.
    """
    _refuse_no_queryset(queryset)
    scope, query = queryset.query.scope, queryset.query
    if scope not in (None, EVERY_ACCOUNT):
        raise CrossAccount(
            f"{query.model._meta.label}: the query was begun for {scope}. Begin it outside of any "
            f"account, or inside `with all_accounts():`."
        )
    if query.select_for_update:
        _refuse(query, "fan_out reads, and select_for_update() locks. Lock inside one account.")
    _refuse_groups(query)
    _refuse_duplicates(query)
    _refuse_windows(query)
    _refuse_ordered_combination(query)
    if any(field == "?" or _holds(field, Random) for field in query.order_by):
        _refuse(query, "a random order cannot be merged. Leave it out, or shuffle the rows.")


def on_shard(queryset: Any) -> Any:
    """The whole query, without its limits, bound to the shard whose scope is in force."""
    clone = _bound(queryset)
    clone.query.clear_limits()
    return clone


def is_whole(query: Any, expression: Any) -> bool:
    """Whether rows that are equal in this column are on one shard: a row's key or its account."""
    column = getattr(expression, "source", expression)
    if not isinstance(column, Col) or column.alias != query.get_initial_alias():
        return False
    field: Any = column.target
    if field.primary_key or field.name == "account_id":
        return True
    return bool(field.remote_field and is_sharded(field.related_model) and not field.null)


def _refuse_no_queryset(queryset: Any) -> None:
    model = getattr(queryset, "model", None)
    if not isinstance(queryset, models.QuerySet) or model is None:
        raise RoutingError(
            f"fan_out takes a queryset, as in fan_out(Order.objects.all()), and not a "
            f"{type(queryset).__name__}."
        )
    if not is_sharded(model):
        everywhere = placement_of(model) is Placement.REFERENCE
        where = "every shard has the same rows" if everywhere else "its rows are in the catalog"
        raise RoutingError(f"{model._meta.label} is not sharded: {where}. Read it without fan_out.")
    if not isinstance(queryset.query, AccountQuery):
        raise RoutingError(
            f"{model._meta.label}: this manager is not the library's. Make its querysets from "
            f"AccountQuerySet."
        )
    if queryset._iterable_class not in ITERABLES:
        raise NotDivisible(
            f"{model._meta.label}: rows of {queryset._iterable_class.__name__} cannot be put "
            f"together. Use model rows, values() or values_list()."
        )


def _refuse_groups(query: Any) -> None:
    if not isinstance(query.group_by, tuple):
        return  # None, or True: by the row's own key
    if not any(is_whole(query, column) for column in query.group_by):
        _refuse(
            query,
            "its groups have rows on several shards. Group by account_id too, as in "
            '`values("account_id", …).annotate(…)`, and add the groups up.',
        )


def _refuse_duplicates(query: Any) -> None:
    """Equal rows on two shards would stay two."""
    if query.distinct and query.distinct_fields:
        names = {"pk", query.get_meta().pk.name, "account_id"}
        whole = not names.isdisjoint(query.distinct_fields)
    elif query.distinct:
        whole = _carries_key(query)
    elif query.combinator and not query.combinator_all:
        whole = all(map(_carries_key, [query, *query.combined_queries]))
    else:
        return
    if not whole:
        _refuse(
            query,
            "equal rows on several shards cannot be told by distinct() or union(). Select the key "
            "or account_id too, or use `set(fan_out(query without distinct))`.",
        )


def _carries_key(query: Any) -> bool:
    return query.default_cols or any(is_whole(query, column) for column in query.select)


def _refuse_windows(query: Any) -> None:
    windows = [
        part
        for expression in (*query.annotations.values(), *query.order_by)
        for part in parts(expression)
        if isinstance(part, Window)
    ]
    for window in windows:
        partition = window.partition_by
        columns = partition.get_source_expressions() if partition else []
        if not any(is_whole(query, column) for column in columns):
            _refuse(query, "a window over several shards. Give it partition_by=account_id.")


def _refuse_ordered_combination(query: Any) -> None:
    if query.combinator and (query.order_by or query.is_sliced):
        _refuse(
            query,
            f"a {query.combinator}() over several shards has no order and no slices. Combine by "
            f"`filter(Q(…) | Q(…))`, or order the rows afterwards: sorted(fan_out(query), key=…).",
        )


def _refuse(query: Any, why: str) -> NoReturn:
    raise NotDivisible(f"{query.model._meta.label}: {why}")


def _bound(queryset: Any) -> Any:
    """A copy of the shard's own: threads share nothing that changes while it runs."""
    clone = queryset._chain()
    if isinstance(clone.query, AccountQuery):
        _free(clone.query)
        clone = clone._chain()
    clone._prefetch_related_lookups = tuple(map(_own, clone._prefetch_related_lookups))
    return clone


def _own(lookup: Any) -> Any:
    queryset = getattr(lookup, "queryset", None)
    if queryset is None:
        return lookup
    own = copy.copy(lookup)
    own.queryset = _bound(queryset)
    return own


def _free(query: Any) -> None:
    """What was begun for every account can be bound to the shard, as what was begun outside is."""
    for part in parts(query):
        if isinstance(part, AccountQuery) and part.scope == EVERY_ACCOUNT:
            part.scope = None


def _holds(expression: Any, kind: type) -> bool:
    return any(isinstance(part, kind) for part in parts(expression))


def parts(node: Any) -> Iterator[Any]:
    """The node, and everything in it: conditions, expressions, subqueries."""
    yield node
    for inner in _inside(node):
        yield from parts(inner)


def _inside(node: Any) -> Iterable[Any]:
    if isinstance(node, Query):
        ordered = (field for field in node.order_by if not isinstance(field, str))
        parts = (*node.annotations.values(), *node.select, *ordered, *node.combined_queries)
        return (node.where, *parts)
    if hasattr(node, "get_source_expressions"):
        return [part for part in node.get_source_expressions() if part is not None]
    return ()

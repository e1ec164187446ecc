"""Rows merged from several shards stand as one database would order them."""

from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import connections, models
from django.db.models import F, Q, Value
from django.db.models.functions import Cast, Length, Lower, NullIf
from django.test import override_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from routers import all_accounts
from routers.exceptions import NotDivisible
from routers.fanout import compare
from routers.fanout.fan_out import fan_out
from tests.unit.routers.shop.models import Line, Order

pytestmark = pytest.mark.django_db(databases="__all__")

PARTS, WHOLE = ("shard01", "shard02"), "shard03"  # the rows, and all of them in one database
TITLES = [
    "",
    "a",
    "A",
    "b",
    "B",
    "aa",
    "Ab",
    "äb",
    "Äb",
    "z",
    "Z",
    "é",
    "e",
    "日本",
    "🙂",
    "~",
    "_a",
]
rows = st.lists(
    st.tuples(st.sampled_from(TITLES), st.integers(-3, 3), st.booleans()), min_size=1, max_size=25
)


def lines() -> Any:
    """Lines with NULLs of several types, and with ties."""
    return Line.objects.annotate(
        text=NullIf("order__title", Value("")),
        number=NullIf("amount", Value(0)),
        real=Cast(F("number"), models.FloatField()) / 3,
        decimal=Cast(F("number"), models.DecimalField(max_digits=9, decimal_places=2)),
        positive=models.ExpressionWrapper(
            Q(number__gt=0), output_field=models.BooleanField(null=True)
        ),
    )


ORDERS: dict[str, tuple[Any, ...]] = {
    "number": ("number",),
    "-number": ("-number",),
    "text": ("text",),
    "-text": ("-text",),
    "two": ("-number", "text"),
    "related": ("-order__title", "amount"),
    "nulls first": (F("text").asc(nulls_first=True), F("number").desc(nulls_last=True)),
    "nulls last": (F("number").desc(nulls_last=True), F("text").desc(nulls_first=True)),
    "expressions": (Lower("order__title").desc(), Length("order__title"), F("amount") * -1),
    "types": ("positive", "-real", "decimal"),
    "key": ("number", "-pk"),
    "none": (),
}


def store(given: list[tuple[str, int, bool]]) -> None:
    """The same rows on their shard, and all on the one beside them."""
    for alias in (*PARTS, WHOLE):
        with connections[alias].cursor() as cursor:
            cursor.execute("DELETE FROM shop_line")
            cursor.execute("DELETE FROM shop_order")
    for key, (title, amount, second) in enumerate(given, start=1):
        for alias in (PARTS[second], WHOLE):
            with connections[alias].cursor() as cursor:
                cursor.execute(
                    "INSERT INTO shop_order (id, account_id, title) VALUES (%s, %s, %s)",
                    [key, 1, title],
                )
                cursor.execute(
                    "INSERT INTO shop_line (id, account_id, order_id, amount)"
                    " VALUES (%s, %s, %s, %s)",
                    [key, 1, key, amount],
                )


def only_parts() -> Any:
    numbers = {alias: number for number, alias in enumerate(PARTS, start=1)}
    return override_settings(SHARDING={**django_settings.SHARDING, "SHARDS": numbers})


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    given=rows,
    name=st.sampled_from(sorted(ORDERS)),
    backwards=st.booleans(),
    start=st.integers(0, 6),
    length=st.integers(0, 10),
    chunk_size=st.sampled_from([1, 3, 1000]),
)
def test_merged_as_one_database_orders_them(
    given: list[Any], name: str, backwards: bool, start: int, length: int, chunk_size: int
) -> None:
    store(given)
    order = ORDERS[name]

    def query(*more: str) -> Any:
        ordered = lines().order_by(*order, *more)
        return ordered.reverse() if backwards else ordered

    columns = ("pk", "text", "number", "real", "decimal", "positive")
    with all_accounts(WHOLE):
        # Only slices have the key as the last word, in its own direction.
        last = "-pk" if backwards else "pk"
        whole = list(query("pk").values_list(*columns))
        paged = [row.pk for row in query(last)[start : start + length]]
    with only_parts():
        rows = list(fan_out(query("pk").values_list(*columns)).iterator(chunk_size))
        page = fan_out(query())[start : start + length]
        assert rows == whole
        assert [row.pk for row in page.iterator(chunk_size)] == paged
        plain = [row.pk for row in fan_out(query()).iterator(chunk_size)]
        assert sorted(plain) == sorted(row[0] for row in rows)


@pytest.mark.skipif(connections["shard01"].vendor != "postgresql", reason="SQLite has none")
def test_a_database_of_another_collation_is_told_to_order_by_code_point(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store([(title, 1, bool(number % 2)) for number, title in enumerate(TITLES)])
    monkeypatch.setattr(compare, "_orders_by_code_point", lambda alias: False)
    query = Order.objects.order_by("title").values_list("title", flat=True)
    with only_parts():
        assert list(fan_out(query)) == sorted(TITLES)
        assert fan_out(query).aggregate(least=models.Min("title"), most=models.Max("title")) == {
            "least": min(TITLES),
            "most": max(TITLES),
        }
        assert list(fan_out(query.order_by("-title")))[:3] == sorted(TITLES)[:-4:-1]


def test_nan_comes_after_every_number() -> None:
    key = compare.comparable(models.FloatField(), "x")
    assert sorted([float("nan"), 2.0, float("inf"), -1.0], key=key)[:3] == [-1.0, 2.0, float("inf")]


def test_values_that_only_the_database_can_compare_are_refused() -> None:
    with pytest.raises(NotDivisible, match=r"JSONField cannot be compared.*Cast"):
        compare.comparable(models.JSONField(), "shop.Order")

"""Reading all shards as one."""

import asyncio
from typing import Any

import pytest
from django.db import DatabaseError, connections, models
from django.db.models import Avg, Count, F, Max, Min, Prefetch, Q, StdDev, Sum, Value
from django.db.models.expressions import Exists, OuterRef, Window
from django.db.models.functions import Collate, Lower, NullIf, Rank

from routers import CrossAccount, RoutingError, account_context, all_accounts, shard_of
from routers.exceptions import NotDivisible
from routers.fanout.fan_out import fan_out
from routers.fanout.read_only import ThreadsConnection
from tests.unit.routers.shop.models import Currency, Line, Order, Plan

pytestmark = pytest.mark.django_db(databases="__all__")

ACCOUNTS = (1, 2, 3, 4097 + 2 * 4096, 1, 2)


def orders() -> list[Order]:
    """Six orders of four accounts on two shards or more, with 0 to 5 lines."""
    made = []
    for number, account in enumerate(ACCOUNTS):
        with account_context(account):
            order = Order.objects.create(title=f"order {number}")
            Line.objects.bulk_create(Line(order=order, amount=n + number) for n in range(number))
        made.append(order)
    assert len({shard_of(account) for account in ACCOUNTS}) > 1
    return made


def titles(rows: Any) -> list[str]:
    return [row.title for row in rows]


def test_rows_of_every_shard_and_account() -> None:
    made = orders()
    rows = list(fan_out(Order.objects.all()))
    assert sorted(row.pk for row in rows) == sorted(row.pk for row in made)
    assert {row._state.db for row in rows} == {shard_of(account) for account in ACCOUNTS}
    with account_context(rows[0].account_id):
        rows[0].refresh_from_db()


BEGUN: dict[str, Any] = {
    "filter": lambda: Order.objects.filter(title__gt="order 1"),
    "in": lambda: Order.objects.filter(pk__in=Line.objects.filter(amount__gt=1).values("order")),
    "exclude": lambda: Order.objects.exclude(lines__amount=5).filter(pk__gt=0),
    "exists": lambda: Order.objects.filter(Exists(Line.objects.filter(order=OuterRef("pk")))),
    "union": lambda: Order.objects.filter(title="order 1").union(Order.objects.filter(title="x")),
    "or": lambda: Order.objects.filter(title="order 1") | Order.objects.filter(title="order 2"),
    "annotated": lambda: Order.objects.annotate(n=Count("lines")).filter(n__gt=2),
    "only": lambda: Order.objects.only("title"),
    "distinct": lambda: Order.objects.filter(lines__amount__gt=0).distinct(),
}


@pytest.mark.parametrize("query", BEGUN.values(), ids=BEGUN.keys())
def test_queries_begun_anywhere_answer_as_one_database_would(query: Any) -> None:
    orders()
    expected = set()
    for shard in {shard_of(account) for account in ACCOUNTS}:
        with all_accounts(shard):
            expected |= set(titles(query()))
    assert expected
    unbound = query()
    with all_accounts():
        begun = query()
        inside = titles(fan_out(begun))
    assert sorted(inside) == sorted(titles(fan_out(unbound))) == sorted(expected)
    assert fan_out(begun).count() == fan_out(unbound).count() == len(expected)
    with account_context(1):  # what is in force does not narrow it
        assert sorted(titles(fan_out(unbound))) == sorted(expected)


def test_prefetches_run_on_the_rows_shard() -> None:
    orders()
    with all_accounts():
        prefetch = Prefetch("lines", Line.objects.filter(amount__gt=3).order_by("amount"))
        rows = fan_out(Order.objects.order_by("title").prefetch_related(prefetch))
    by_title = {row.title: [line.amount for line in row.lines.all()] for row in rows}
    assert by_title["order 5"] == [5, 6, 7, 8, 9]
    assert by_title["order 2"] == []
    unbound = Prefetch("lines", Line.objects.select_related("order"), to_attr="found")
    again = fan_out(Order.objects.prefetch_related(unbound)).iterator(chunk_size=2)
    assert {row.title: len(row.found) for row in again}["order 4"] == 4  # type: ignore[attr-defined]


def test_select_related_and_deferred() -> None:
    orders()
    lines = list(fan_out(Line.objects.select_related("order").defer("amount").order_by("-id")))
    assert [line.order.title for line in lines[:5]] == ["order 5"] * 5
    assert len(lines) == 15


def test_values_keep_their_shape_and_no_key_is_left_in_rows() -> None:
    orders()
    ordered = Order.objects.order_by("-title")
    assert fan_out(ordered.values("title"))[0] == {"title": "order 5"}
    assert fan_out(ordered.values_list("title", "account_id"))[0] == ("order 5", 2)
    assert fan_out(ordered.values_list("title", flat=True))[:2][1] == "order 4"
    assert fan_out(ordered.values_list("title", named=True))[0].title == "order 5"
    whole = fan_out(ordered.annotate(n=Count("lines")).values())[0]
    assert whole["n"] == 5
    assert not [name for name in whole if "key" in name]
    assert not [name for name in vars(fan_out(ordered)[0]) if "key" in name]


def test_slices_first_and_index() -> None:
    orders()
    ordered = fan_out(Order.objects.order_by("title"))
    assert titles(ordered[1:3]) == ["order 1", "order 2"]
    assert titles(ordered[2:][1:3]) == ["order 3", "order 4"]
    assert titles(ordered[4:100]) == ["order 4", "order 5"]
    assert titles(fan_out(Order.objects.order_by("title")[1:5])[1:2]) == ["order 2"]
    assert ordered[3].title == "order 3"
    assert ordered.first().title == "order 0"
    assert titles(ordered[3:3]) == []
    assert ordered[10:].first() is None
    with pytest.raises(IndexError):
        ordered[6]
    assert (ordered[1:3].count(), ordered[4:].count(), ordered[9:].count()) == (2, 2, 0)
    assert ordered[5:].exists()
    assert not ordered[6:]


def test_pages_without_an_order_are_by_primary_key() -> None:
    made = orders()
    rows = fan_out(Order.objects.all())
    pages = [row.pk for start in range(0, 6, 2) for row in rows[start : start + 2]]
    assert pages == sorted(row.pk for row in made)


def test_a_limit_is_pushed_down(monkeypatch: pytest.MonkeyPatch) -> None:
    orders()
    seen: list[int | None] = []
    take = models.sql.Query.set_limits

    def note(query: Any, low: int | None = None, high: int | None = None) -> None:
        seen.append(high)
        take(query, low, high)

    monkeypatch.setattr(models.sql.Query, "set_limits", note)
    list(fan_out(Order.objects.order_by("title"))[2:4])
    assert seen == [4, 4, 4]


def test_aggregates_over_all() -> None:
    orders()
    amounts = [n + number for number in range(6) for n in range(number)]
    found = fan_out(Line.objects.all()).aggregate(
        Count("id"),
        total=Sum("amount"),
        least=Min("amount"),
        most=Max("amount"),
        mean=Avg("amount"),
        some=Avg("amount", filter=Q(amount__gt=5)),
        accounts=Count("account_id", distinct=True),
        orders=Count("order", distinct=True),
    )
    some = [amount for amount in amounts if amount > 5]
    assert found == {
        "id__count": len(amounts),
        "total": sum(amounts),
        "least": min(amounts),
        "most": max(amounts),
        "mean": pytest.approx(sum(amounts) / len(amounts)),
        "some": pytest.approx(sum(some) / len(some)),
        "accounts": 4,
        "orders": 5,
    }
    assert fan_out(Order.objects.all()).aggregate(Max("title")) == {"title__max": "order 5"}


def test_aggregates_of_nothing() -> None:
    found = fan_out(Line.objects.all()).aggregate(
        n=Count("id"), total=Sum("amount"), given=Sum("amount", default=7), mean=Avg("amount")
    )
    assert found == {"n": 0, "total": None, "given": 7, "mean": None}
    assert not fan_out(Order.objects.all()).exists()
    assert fan_out(Order.objects.all()).first() is None
    assert list(fan_out(Order.objects.none())) == []


def test_groups_of_an_account() -> None:
    orders()
    groups = Line.objects.values("account_id").annotate(n=Count("id")).order_by("-n")
    assert [(group["account_id"], group["n"]) for group in fan_out(groups)] == [
        (2, 6),
        (1, 4),
        (ACCOUNTS[3], 3),
        (3, 2),
    ]
    by_order = Line.objects.values("order").annotate(total=Sum("amount")).order_by("-total")
    assert fan_out(by_order)[0]["total"] == 5 + 6 + 7 + 8 + 9


REFUSED: dict[str, tuple[Any, str]] = {
    "no queryset": (lambda: [1], "takes a queryset"),
    "manager": (lambda: Order.objects, "takes a queryset"),
    "global": (lambda: Plan.objects.all(), "rows are in the catalog"),
    "reference": (lambda: Currency.objects.all(), "every shard has the same rows"),
    "groups": (
        lambda: Order.objects.values("title").annotate(n=Count("id")),
        "Group by account_id",
    ),
    "distinct": (lambda: Order.objects.values("title").distinct(), r"set\(fan_out"),
    "nullable": (lambda: Order.objects.values("parent").distinct(), r"set\(fan_out"),
    "union": (
        lambda: Order.objects.values("title").union(Order.objects.values("title")),
        r"union\(\)",
    ),
    "ordered union": (
        lambda: Order.objects.all().union(Order.objects.all()).order_by("title"),
        r"filter\(Q",
    ),
    "window": (
        lambda: Order.objects.annotate(rank=Window(Rank(), order_by="title")),
        "partition_by=account_id",
    ),
    "random": (lambda: Order.objects.order_by("?"), "random order"),
    "lock": (lambda: Order.objects.select_for_update(), "Lock inside one account"),
}


@pytest.mark.parametrize(("query", "cure"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_divided_is_refused_with_a_cure(query: Any, cure: str) -> None:
    with pytest.raises(RoutingError, match=cure):
        fan_out(query())


def test_queries_of_one_account_or_shard_are_refused() -> None:
    with account_context(1):
        mine = Order.objects.all()
    with all_accounts("shard01"):
        shards = Order.objects.all()
    with pytest.raises(CrossAccount, match=r"begun for account 1\. Begin it outside"):
        fan_out(mine)
    with pytest.raises(CrossAccount, match="begun for all of shard01"):
        fan_out(shards)


@pytest.mark.parametrize(
    "use",
    [
        lambda rows: rows[-1],
        lambda rows: rows[:-1],
        lambda rows: rows[::2],
        lambda rows: rows[:5].aggregate(Count("id")),
        lambda rows: rows.aggregate(Count("title", distinct=True)),
        lambda rows: rows.aggregate(n=Count("parent", distinct=True)),
        lambda rows: rows.aggregate(x=StdDev("id")),
        lambda rows: rows.aggregate(x=Sum("id") / Count("id")),
    ],
)
def test_uses_that_cannot_be_divided_are_refused(use: Any) -> None:
    with pytest.raises(NotDivisible, match=r"shop\.Order"):
        use(fan_out(Order.objects.all()))


def test_another_collation_is_refused() -> None:
    with pytest.raises(NotDivisible, match="collation nocase"):
        list(fan_out(Order.objects.order_by(Collate("title", "nocase"))))


def test_windows_of_an_account() -> None:
    orders()
    rank = Window(Rank(), partition_by="account_id", order_by="-title")
    rows = fan_out(Order.objects.annotate(rank=rank).order_by("title"))
    assert [row.rank for row in rows] == [2, 2, 1, 1, 1, 1]


def test_nothing_can_be_written() -> None:
    rows = fan_out(Order.objects.all())
    writes = "create update delete save bulk_create bulk_update get_or_create update_or_create"
    assert not [name for name in writes.split() if hasattr(rows, name)]


def test_a_transaction_of_the_caller_is_read_in_and_can_be_written_after() -> None:
    """Every test here has one: what it wrote is seen, and its connection stays writable."""
    orders()
    rows = fan_out(Order.objects.order_by("title")).iterator(chunk_size=1)
    assert next(rows).title == "order 0"
    with account_context(1):
        Order.objects.create(title="while it is read")
    assert titles(rows)[-1] == "order 5"
    assert fan_out(Order.objects.all()).count() == 7


def test_inside_an_accounts_own_transaction() -> None:
    from routers import account_atomic

    every = Order.objects.all()
    with account_context(1), account_atomic():
        Order.objects.create(title="mine")
        assert fan_out(every).count() == 1
        assert Order.objects.count() == 1


def test_asynchronously() -> None:
    made = orders()

    async def read() -> tuple[list[str], int, bool, Any]:
        rows = fan_out(Order.objects.order_by("title"))
        found = [row.title async for row in rows]
        first = await rows.afirst()
        return found, await rows.acount(), await rows.aexists(), first.title

    from asgiref.sync import async_to_sync

    found, count, exists, first = async_to_sync(read)()
    assert (found, count, exists) == (sorted(titles(made)), 6, True)
    assert first == "order 0"
    assert asyncio.iscoroutinefunction(rows_acount := fan_out(Order.objects.all()).acount)
    assert rows_acount


def test_expressions_and_related_orders() -> None:
    orders()
    assert titles(fan_out(Order.objects.order_by(Lower("title").desc())))[0] == "order 5"
    lines = fan_out(Line.objects.order_by("-order__title", F("amount").asc()))
    assert [(line.amount) for line in lines[:5]] == [5, 6, 7, 8, 9]
    nulls = Order.objects.annotate(k=NullIf("title", Value("order 3")))
    assert titles(fan_out(nulls.order_by(F("k").desc(nulls_last=True))))[-1] == "order 3"
    assert titles(fan_out(nulls.order_by(F("k").asc(nulls_first=True)).reverse()))[-1] == "order 3"


def test_the_callers_own_connection_only_reads_meanwhile() -> None:
    """Each step is read-only; before and after it, the transaction is the caller's to write in."""
    order = orders()[0]
    shard = shard_of(order.account_id)
    change = f"UPDATE shop_order SET title = 'changed' WHERE id = {order.pk}"
    with (
        pytest.raises(DatabaseError, match=r"read-?only"),
        ThreadsConnection(shard).step(),
        connections[shard].cursor() as cursor,
    ):
        cursor.execute(change)
    assert fan_out(Order.objects.order_by("title")).first().title == "order 0"
    with connections[shard].cursor() as cursor:
        cursor.execute(change)
    assert fan_out(Order.objects.order_by("title")).first().title == "changed"

"""The operations of `isolation`: the ORM's public surface, used rightly and wrongly."""

from collections.abc import Iterable
from contextvars import Context
from typing import Any

from django.core import serializers
from django.db.models import (
    CharField,
    Count,
    Exists,
    F,
    FilteredRelation,
    OuterRef,
    Prefetch,
    Q,
    Subquery,
    Sum,
    Window,
)
from django.db.models.functions import Cast, RowNumber

from routers import shard_of
from tests.unit.routers.isolation import Step, equal, reading, refused, writing
from tests.unit.routers.shop.models import Currency, Line, Order, Tag, Tagging

# As a view's or a form's class attributes are: begun outside any account.
ORDERS, PARTS = Order.objects.order_by(), Order.objects.filter(pk__gt=0).order_by()
SOME = Order.objects.filter(title="t0").order_by()
KEY = Cast("pk", CharField())


@reading
def a_pause(s: Step) -> Iterable[Any]:
    """Nothing: what a failing program shrinks to, so its name comes first."""
    return []


@reading
def read_all(s: Step) -> Iterable[Any]:
    return [*Order.objects.all(), *Line.objects.all(), *Tagging.objects.all(), *Tag.objects.all()]


@reading
def read_by_key(s: Step) -> Iterable[Any]:
    yield from Order.objects.filter(pk=s.order.pk)
    yield from Order.objects.in_bulk([s.order.pk, s.other.pk]).values()
    yield Order.objects.get(pk=s.order.pk)


@reading
def read_by_any_of_two(s: Step) -> Iterable[Any]:
    yield from Order.objects.filter(Q(pk=s.order.pk) | Q(title=s.other.title))
    yield from Order.objects.exclude(pk=s.order.pk).order_by("-pk")
    yield from Order.objects.filter(pk=s.order.pk) | Order.objects.filter(title="t1")
    yield from Order.objects.filter(pk=s.order.pk).union(Order.objects.all())


@reading
def count(s: Step) -> Iterable[Any]:
    equal(Order.objects.count(), len(s.mine(Order)))
    equal(Order.objects.exists(), bool(s.mine(Order)))
    total = Line.objects.aggregate(total=Sum("amount", default=0))["total"]
    equal(total, sum(row["amount"] for row in s.mine(Line)))
    keys = sorted(Order.objects.values_list("pk", flat=True))
    equal(keys, sorted(row["id"] for row in s.mine(Order)))
    return []


@reading
def join_upwards(s: Step) -> Iterable[Any]:
    yield from Line.objects.filter(order__title=s.order.title)
    for line in Line.objects.select_related("order", "order__parent"):
        yield from (line, line.order)
        if line.order.parent_id:
            yield line.order.parent


@reading
def join_downwards(s: Step) -> Iterable[Any]:
    mine = {row["id"] for row in s.mine(Line)}
    for order in Order.objects.annotate(n=Count("lines"), total=Sum("lines__amount", default=0)):
        own = [row for row in s.mine(Line) if row["order_id"] == order.pk]
        equal((order.n, order.total), (len(own), sum(row["amount"] for row in own)))
        yield order
    keys = Order.objects.filter(lines__isnull=False).values_list("lines__pk", flat=True)
    equal(set(keys) - mine, set())
    filtered = Order.objects.annotate(big=FilteredRelation("lines", condition=Q(lines__amount=1)))
    equal(set(filtered.filter(big__pk__gt=0).values_list("big__pk", flat=True)) - mine, set())


@reading
def exclude_by_children(s: Step) -> Iterable[Any]:
    seen = set(Order.objects.exclude(lines__amount=s.number).values_list("pk", flat=True))
    with_it = {row["order_id"] for row in s.mine(Line) if row["amount"] == s.number}
    equal(seen, {row["id"] for row in s.mine(Order)} - with_it)
    seen = set(Order.objects.exclude(tags__name="n0").values_list("pk", flat=True))
    names = {row["id"] for row in s.mine(Tag) if row["name"] == "n0"}
    tagged = {row["order_id"] for row in s.mine(Tagging) if row["tag_id"] in names}
    equal(seen, {row["id"] for row in s.mine(Order)} - tagged)
    return []


@reading
def subqueries(s: Step) -> Iterable[Any]:
    yield from Order.objects.filter(pk__in=Line.objects.values("order_id"))
    lines = Line.objects.filter(order_id=OuterRef("pk"))
    yield from Order.objects.filter(Exists(lines))
    newest = Subquery(lines.order_by("-pk").values("pk")[:1])
    mine = {row["id"] for row in s.mine(Line)} | {None}
    equal({order.newest for order in Order.objects.annotate(newest=newest)} - mine, set())


@reading
def prefetch(s: Step) -> Iterable[Any]:
    sorted_lines = Prefetch("lines", queryset=Line.objects.order_by("-amount"))
    for order in Order.objects.prefetch_related(sorted_lines, "tags", "parts"):
        yield from (order, *order.lines.all(), *order.tags.all(), *order.parts.all())


@reading
def follow_relations(s: Step) -> Iterable[Any]:
    for related in (s.order.lines, s.order.tags, s.order.parts):
        rows = list(related.all())
        if s.order.account_id != s.account:
            refused("a relation of another account's order", rows)
        yield from rows


@reading
def refresh(s: Step) -> Iterable[Any]:
    s.line.refresh_from_db()
    yield s.line
    yield s.line.order


@reading
def raw_sql(s: Step) -> Iterable[Any]:
    return Order.objects.raw("SELECT * FROM shop_order")


@reading
def extra_sql(s: Step) -> Iterable[Any]:
    return Order.objects.extra(where=["1 = 1"])


@reading
def named_database(s: Step) -> Iterable[Any]:
    yield from Order.objects.using(shard_of(s.theirs))


@reading
def query_of_another_account(s: Step) -> Iterable[Any]:
    return s.their_orders


@reading
def queries_of_two_accounts(s: Step) -> Iterable[Any]:
    if s.number % 2:
        return Order.objects.all() | s.their_orders
    return Order.objects.all().union(s.their_orders)


@reading
def subquery_of_another_account(s: Step) -> Iterable[Any]:
    titles = s.their_orders.values("title")
    refused("a subquery of another account", list(Order.objects.filter(title__in=titles)))
    return []


@reading
def subquery_run_after_its_block(s: Step) -> Iterable[Any]:
    """In no account at all, where only the query itself says whose it is."""
    inner = (s.their_orders, ORDERS)[s.number % 2]
    found = Context().run(list, Order.objects.filter(title__in=inner.values("title")))
    if inner is s.their_orders:
        refused("a subquery of another account's", found)
    return found


@reading
def looked_for(s: Step) -> Iterable[Any]:
    found = [*Order.objects.filter(parent=s.order), *Line.objects.exclude(order__in=[s.order])]
    if s.order.account_id != s.account:
        refused("a search for another account's order", found)
    return found


@reading
def begun_outside(s: Step) -> Iterable[Any]:
    yield from (ORDERS | PARTS, PARTS ^ ORDERS, ORDERS & PARTS, ORDERS.all())[s.number]
    yield from (ORDERS.union(PARTS), PARTS.union(ORDERS.all()), ORDERS.difference(PARTS))[
        s.number % 3
    ]


@reading
def inside_a_reference_query(s: Step) -> Iterable[Any]:
    currencies = Currency.objects.using(shard_of(s.account)).annotate(key=KEY)
    mine = {str(row["id"]) for row in s.mine(Order)}
    orders = (ORDERS, Order.objects.all(), s.their_orders, PARTS)[s.number].order_by()
    keys = orders.annotate(key=KEY)
    both = currencies.values_list("key").union(keys.values_list("key"))
    equal({key for (key,) in both} - mine - {"EUR"}, set())
    newest = Subquery(keys.order_by("-pk").values("key")[:1])
    equal({c.newest for c in currencies.annotate(newest=newest)} - mine - {None}, set())
    return []


@reading
def way_back_from_a_reference(s: Step) -> Iterable[Any]:
    if s.number % 2:
        found: Any = Order.objects.filter(currency__isnull=False).values_list("currency__+__pk")
    else:
        found = Currency.objects.using(shard_of(s.account)).values_list("+__pk")
    refused("the way back from a reference", list(found))
    return []


@reading
def windows(s: Step) -> Iterable[Any]:
    numbered = Order.objects.annotate(n=Window(RowNumber(), order_by="pk"))
    yield from numbered.filter(n__lte=2) | numbered.filter(n__gt=3)


@writing
def create(s: Step) -> Iterable[Any]:
    order = Order.objects.create(title=f"t{s.number}", parent=s.other)
    return [order, Line.objects.create(order=order), Tag.objects.create(name=f"n{s.number}")]


@writing
def create_for_another_account(s: Step) -> Iterable[Any]:
    return [Order.objects.create(title="x", account_id=s.theirs)]


@writing
def store_elsewhere(s: Step) -> Iterable[Any]:
    order = Order(title="x")
    order.save(using=shard_of(s.theirs))
    return [order]


@writing
def create_by_bare_key(s: Step) -> Iterable[Any]:
    return [
        Line.objects.create(order_id=s.order.pk, amount=s.number),
        Tagging.objects.create(order_id=s.order.pk, tag_id=s.tag.pk),
    ]


@writing
def bulk_create(s: Step) -> Iterable[Any]:
    rows = [Line(order_id=s.order.pk), Line(order=s.other, amount=s.number)]
    return Line.objects.bulk_create(rows)


@writing
def upsert(s: Step) -> Iterable[Any]:
    unique = ["id"] if s.number % 2 else ["account_id", "id"]
    return Order.objects.bulk_create(
        [Order(pk=s.order.pk, title="upserted")],
        update_conflicts=True,
        unique_fields=unique,
        update_fields=["title"],
    )


@writing
def upsert_by_position(s: Step) -> Iterable[Any]:
    rows = [Order(id=s.order.pk, title="taken")]
    return Order.objects.bulk_create(rows, None, False, True, ["title"], ["id"])


@writing
def write_by_a_query_of_another_account(s: Step) -> Iterable[Any]:
    if s.number % 2:
        s.their_orders.update(title="taken")
    else:
        s.their_orders.delete()
    return []


@writing
def begun_outside_and_written(s: Step) -> Iterable[Any]:
    if s.number % 2:
        (ORDERS | PARTS).update(title="t1")
    else:
        (ORDERS & SOME).delete()
    return []


@writing
def read_in_part(s: Step) -> Iterable[Any]:
    for order in (Order.objects.only("title"), Order.objects.defer("account_id"))[s.number % 2]:
        order.title = "again"
        order.save()
        yield from (order, *order.lines.all())


@writing
def assign(s: Step) -> Iterable[Any]:
    line = Line(amount=s.number) if s.number % 2 else Line.objects.earliest("pk")
    line.order = s.order
    return [line.order]


@writing
def save(s: Step) -> Iterable[Any]:
    s.order.title = f"t{s.number}"
    s.order.save()
    s.line.order_id = s.order.pk
    s.line.save()
    return [s.order, s.line]


@writing
def steal(s: Step) -> Iterable[Any]:
    s.order.account_id = s.account
    s.order.save()
    return [s.order]


@writing
def save_by_key(s: Step) -> Iterable[Any]:
    order = Order(pk=s.order.pk, title="mine", account_id=s.account)
    order.save()
    return [order]


@writing
def delete_one(s: Step) -> Iterable[Any]:
    if s.number % 2:
        s.order.delete()
    else:
        Order(pk=s.order.pk, account_id=s.account).delete()
    return []


@writing
def update(s: Step) -> Iterable[Any]:
    Order.objects.update(title=f"t{s.number}")
    Line.objects.filter(order__title="t0").update(amount=F("amount") + 1)
    Line.objects.exclude(order__parent__title="t1").update(amount=0)
    return []


@writing
def update_relation(s: Step) -> Iterable[Any]:
    if s.number % 2:
        Line.objects.update(order=s.order)
    else:
        Line.objects.update(order_id=s.order.pk)
    return []


@writing
def update_account(s: Step) -> Iterable[Any]:
    if not Tag.objects.update(account_id=s.theirs):
        raise Tag.DoesNotExist("no row to change")
    return []


@writing
def bulk_update(s: Step) -> Iterable[Any]:
    s.line.amount, s.line.order_id = s.number, s.order.pk
    Line.objects.bulk_update([s.line], ["amount", "order"])
    return []


@writing
def delete_some(s: Step) -> Iterable[Any]:
    Order.objects.filter(title=s.order.title).delete()
    Tag.objects.filter(pk=s.tag.pk).delete()
    Line.objects.filter(order__title="t2").delete()
    return []


@writing
def get_or_create(s: Step) -> Iterable[Any]:
    yield Order.objects.get_or_create(pk=s.order.pk, defaults={"title": "x"})[0]


@writing
def update_or_create(s: Step) -> Iterable[Any]:
    yield Line.objects.update_or_create(pk=s.line.pk, defaults={"order_id": s.order.pk})[0]


@writing
def add_related(s: Step) -> Iterable[Any]:
    s.order.lines.add(s.line)
    s.order.lines.create(amount=s.number)
    return s.order.lines.all()


@writing
def many_to_many(s: Step) -> Iterable[Any]:
    match s.number % 4:
        case 0:
            s.order.tags.add(s.tag)
        case 1:
            s.order.tags.add(s.tag.pk)
        case 2:
            s.order.tags.set([s.tag])
        case 3:
            s.order.tags.clear()
    return s.order.tags.all()


@writing
def deserialize(s: Step) -> Iterable[Any]:
    fields = {"title": "loaded", "account_id": s.theirs if s.number % 2 else s.account}
    data = [{"model": "shop.order", "pk": s.order.pk, "fields": fields}]
    for loaded in serializers.deserialize("python", data):
        loaded.save(using=shard_of(s.account))
        yield loaded.object

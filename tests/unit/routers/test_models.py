"""Every query stays inside its account, or raises."""

import asyncio
from copy import deepcopy
from typing import Any

import pytest
from django import forms
from django.core import serializers
from django.db import IntegrityError, models, transaction

from routers import (
    AccountNotSet,
    CrossAccount,
    RoutingError,
    account_context,
    all_accounts,
    shard_of,
)
from routers.exceptions import ForeignLink
from routers.reference.carry import publish_references
from tests.unit.routers.shop.models import Currency, Line, Order, Plan, Tag

pytestmark = pytest.mark.django_db(databases="__all__")

# Two accounts of one shard, and one of another.
MINE, NEIGHBOUR, ELSEWHERE = 1, 4097 + 2 * 4096, 2


def order_of(account: int, title: str = "order") -> Order:
    with account_context(account):
        return Order.objects.create(title=title)


def test_the_accounts_of_these_tests() -> None:
    assert shard_of(MINE) == shard_of(NEIGHBOUR) != shard_of(ELSEWHERE)


def test_rows_land_on_their_accounts_shard_and_no_other() -> None:
    for account in (MINE, NEIGHBOUR, ELSEWHERE):
        order_of(account)
    counts = {}
    for shard in ("shard01", "shard02", "shard03"):
        with all_accounts(shard):
            counts[shard] = Order.objects.count()
    assert counts == {"shard01": 0, shard_of(MINE): 2, shard_of(ELSEWHERE): 1}


def test_new_row_is_stamped() -> None:
    assert order_of(MINE).account_id == MINE


def test_bulk_create_stamps_and_returns_keys() -> None:
    with account_context(MINE):
        made = Order.objects.bulk_create([Order(title=str(n)) for n in range(50)])
    assert {row.account_id for row in made} == {MINE}
    assert len({row.pk for row in made}) == 50


def test_two_accounts_on_one_shard_never_see_each_other() -> None:
    mine, theirs = order_of(MINE), order_of(NEIGHBOUR)
    with account_context(MINE):
        assert list(Order.objects.all()) == [mine]
        assert not Order.objects.filter(pk=theirs.pk).exists()
        assert Order.objects.in_bulk([mine.pk, theirs.pk]) == {mine.pk: mine}
        assert Order.objects.update(title="changed") == 1
        assert Order.objects.count() == 1
        with pytest.raises(Order.DoesNotExist):
            Order.objects.get(pk=theirs.pk)
        assert Order.objects.all().delete() == (1, {"shop.Order": 1})
    with account_context(NEIGHBOUR):
        theirs.refresh_from_db()
        assert theirs.title == "order"


QUERIES: dict[str, Any] = {
    "all": lambda: list(Order.objects.all()),
    "get": lambda: Order.objects.get(pk=1),
    "create": lambda: Order.objects.create(title="x"),
    "bulk_create": lambda: Order.objects.bulk_create([Order(title="x")]),
    "get_or_create": lambda: Order.objects.get_or_create(title="x"),
    "count": lambda: Order.objects.count(),
    "aggregate": lambda: Order.objects.aggregate(models.Count("id")),
    "update": lambda: Order.objects.update(title="x"),
    "in_bulk": lambda: Order.objects.in_bulk([1]),
    "raw": lambda: list(Order.objects.raw("SELECT * FROM shop_order")),
    "extra": lambda: list(Order.objects.extra(where=["1 = 1"])),
    "save": lambda: Order(title="x", account_id=MINE).save(),
    "first": lambda: Order.objects.first(),
    "exists": lambda: Order.objects.exists(),
    "iterator": lambda: list(Order.objects.iterator()),
    "values_list": lambda: list(Order.objects.values_list("pk", flat=True)),
    "earliest": lambda: Order.objects.earliest("pk"),
    "delete": lambda: Order.objects.all().delete(),
    "bulk_update": lambda: Order.objects.bulk_update([Order(pk=1, account_id=MINE)], ["title"]),
    "update_or_create": lambda: Order.objects.update_or_create(pk=1),
    "union": lambda: list(Order.objects.all().union(Order.objects.all())),
    "explain": lambda: Order.objects.all().explain(),
    "base manager": lambda: list(Order._base_manager.all()),
    "select_related": lambda: list(Order.objects.select_related("parent")),
    "prefetch": lambda: list(Order.objects.prefetch_related("lines")),
    "prefetch of an object": lambda: models.prefetch_related_objects(
        [Order(pk=1, account_id=MINE)], "lines"
    ),
    "reverse relation": lambda: list(Order(pk=1, account_id=MINE).parts.all()),
    "forward relation": lambda: Order(parent_id=1, account_id=MINE).parent,
    "many-to-many": lambda: Order(pk=1, account_id=MINE).tags.through.objects.count(),
    "refresh_from_db": lambda: Order(pk=1, account_id=MINE).refresh_from_db(),
    "full_clean": lambda: Order(pk=1, account_id=MINE, title="x").full_clean(),
    "serialize": lambda: serializers.serialize("json", Order.objects.all()),
    "deserialize": lambda: [
        loaded.save()
        for loaded in serializers.deserialize(
            "python", [{"model": "shop.order", "pk": 1, "fields": {"title": "x"}}]
        )
    ],
    "async": lambda: asyncio.run(Order.objects.aget(pk=1)),
}


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES.keys())
def test_without_an_account_it_raises_naming_model_and_cure(query: Any) -> None:
    cures = r"shop\.\w+ is sharded.*with account_context.*fan_out.*with all_accounts"
    with pytest.raises(AccountNotSet, match=cures):
        query()


@pytest.mark.parametrize("change", ["save", "delete", "refresh_from_db"])
def test_instance_outside_its_account_raises(change: str) -> None:
    order = order_of(MINE)
    with pytest.raises(AccountNotSet):
        getattr(order, change)()


def test_instance_of_another_account_is_not_saved_or_deleted() -> None:
    order = order_of(NEIGHBOUR)
    with account_context(MINE):
        with pytest.raises(CrossAccount, match=f"belongs to account {NEIGHBOUR}, but account 1"):
            order.save()
        with pytest.raises(CrossAccount):
            order.delete()


def test_relation_across_accounts_is_refused() -> None:
    order = order_of(NEIGHBOUR)
    with account_context(MINE), pytest.raises(CrossAccount, match="belongs to account"):
        Line.objects.create(order=order)


def test_related_rows_are_found_on_the_shard() -> None:
    with account_context(MINE):
        order = Order.objects.create(title="x")
        line = Line.objects.create(order=order)
        assert list(order.lines.all()) == [line]
        assert Line.objects.select_related("order").get().order.title == "x"
        assert Order.objects.prefetch_related("lines").get().lines.all()[0] == line
        assert Line.objects.get().order == order


def test_many_to_many_is_prefetched_and_holds_the_account() -> None:
    with account_context(MINE):
        order = Order.objects.create(title="x")
        order.tags.add(Tag.objects.create(name="mine"))
        [found] = Order.objects.prefetch_related("tags")
        assert [tag.name for tag in found.tags.all()] == ["mine"]
        for spied in ({"x": "(SELECT count(*) FROM shop_order)"}, {"x": "1; SELECT 1"}):
            with pytest.raises(CrossAccount, match="extra"):
                Order.objects.extra(select=spied)  # noqa: S610 - refused


def test_account_never_changes_by_update() -> None:
    order_of(MINE)
    with account_context(MINE), pytest.raises(CrossAccount, match="never changes"):
        Order.objects.update(account_id=NEIGHBOUR)


def test_query_keeps_its_account_and_is_refused_inside_another() -> None:
    mine = order_of(MINE)
    with account_context(MINE):
        begun = Order.objects.all()
    with account_context(ELSEWHERE), pytest.raises(CrossAccount, match="begun for account 1"):
        list(begun)
    assert list(begun) == [mine]


def test_a_deep_copy_of_a_query_keeps_its_account() -> None:
    order_of(MINE, "mine")
    order_of(NEIGHBOUR)
    with account_context(MINE):
        copied = deepcopy(Order.objects.filter(title="mine"))
        assert [order.account_id for order in copied] == [MINE]
    with account_context(NEIGHBOUR), pytest.raises(CrossAccount):
        copied.all().count()


def test_all_accounts_reads_a_whole_shard_and_writes_only_named_accounts() -> None:
    order_of(MINE)
    order_of(NEIGHBOUR)
    with all_accounts(shard_of(MINE)):
        assert {order.account_id for order in Order.objects.all()} == {MINE, NEIGHBOUR}
        with pytest.raises(AccountNotSet):
            Order.objects.create(title="whose?")
        assert Order.objects.create(title="x", account_id=MINE).account_id == MINE


def test_nothing_of_another_account_is_reached_by_its_key() -> None:
    theirs = order_of(NEIGHBOUR)
    with account_context(MINE):
        with pytest.raises(AccountNotSet):
            Order(pk=theirs.pk).delete()
        Order(pk=theirs.pk, account_id=MINE).delete()
        with pytest.raises(CrossAccount, match="an upsert needs account_id"):
            Order.objects.bulk_create(
                [Order(pk=theirs.pk, title="mine")],
                update_conflicts=True,
                unique_fields=["id"],
                update_fields=["title"],
            )
        with pytest.raises(CrossAccount):
            Order.objects.bulk_update([theirs], ["title"])
        with pytest.raises(CrossAccount, match="cannot be filtered by account"):
            Order.objects.raw("SELECT * FROM shop_order")
        Order.objects.bulk_create(
            [Order(title="new")],
            update_conflicts=True,
            unique_fields=["account_id", "id"],
            update_fields=["title"],
        )
    with account_context(NEIGHBOUR):
        theirs.refresh_from_db()
        assert theirs.title == "order"


def test_queries_of_different_scopes_are_not_mixed() -> None:
    order_of(NEIGHBOUR)
    with all_accounts(shard_of(MINE)):
        whole = Order.objects.all()
    with account_context(NEIGHBOUR):
        theirs = Order.objects.all()
    with account_context(MINE):
        with pytest.raises(CrossAccount, match="begun for all of shard02"):
            list(whole)
        with pytest.raises(CrossAccount):
            whole.update(title="changed")
        for combine in (Order.objects.all().__or__, Order.objects.all().union):
            with pytest.raises(CrossAccount, match="combined with another"):
                combine(theirs)


def test_account_is_not_sought_or_stored_on_another_shard() -> None:
    elsewhere = shard_of(ELSEWHERE)
    with account_context(MINE):
        order = Order(title="x")
        for wrong in (
            lambda: Order.objects.using(elsewhere),
            lambda: Order.objects.db_manager(elsewhere).all(),
            lambda: order.save(using=elsewhere),
        ):
            with pytest.raises(RoutingError, match=f"in question are on {shard_of(MINE)}"):
                wrong()
        assert Order.objects.using(shard_of(MINE)).count() == 0
    with all_accounts(elsewhere), pytest.raises(RoutingError, match="in question are on"):
        Order.objects.create(title="x", account_id=MINE)


def test_updated_relation_stays_in_the_account() -> None:
    theirs = order_of(NEIGHBOUR)
    with account_context(MINE):
        line = Line.objects.create(order=Order.objects.create(title="x"))
        with pytest.raises(CrossAccount):
            Line.objects.filter(pk=line.pk).update(order=theirs)


def test_deleted_reference_row_leaves_every_copy() -> None:
    Currency.objects.create(code="EUR", name="Euro")
    Currency.objects.create(code="DEM", name="Mark")
    publish_references()
    Currency.objects.filter(code="DEM")._raw_delete(using="default")
    publish_references()
    for shard in ("default", "shard01", "shard02", "shard03"):
        assert [c.code for c in Currency.objects.using(shard)] == ["EUR"]


def test_global_models_live_in_the_catalog() -> None:
    with account_context(MINE):
        assert Plan.objects.create(name="free")._state.db == "default"
        assert Plan.objects.get()._state.db == "default"


def test_reference_models_are_read_beside_the_account() -> None:
    Currency.objects.create(code="EUR", name="Euro")
    publish_references()
    with account_context(MINE):
        order = Order.objects.create(title="x", currency=Currency.objects.get())
        assert Order.objects.get(currency__name="Euro") == order
        assert Currency.objects.get()._state.db == shard_of(MINE)
    assert Currency.objects.get()._state.db == "default"


def test_bare_key_of_another_account_is_refused_by_the_database() -> None:
    theirs = order_of(NEIGHBOUR)
    with account_context(MINE):
        line = Line.objects.create(order=Order.objects.create(title="x"))
        with pytest.raises(ForeignLink, match=r"shop_line\.order_id names"), atomic():
            Line.objects.create(order_id=theirs.pk)
        with pytest.raises(ForeignLink), atomic():
            Line.objects.update(order_id=theirs.pk)
        line.order_id = theirs.pk
        with pytest.raises(IntegrityError), atomic():
            line.save()
        with pytest.raises(ForeignLink, match="never changes its account_id"), atomic():
            Line.objects.update(account_id=NEIGHBOUR)


def atomic() -> Any:
    """A savepoint: PostgreSQL goes on after a refusal."""
    return transaction.atomic(using=shard_of(MINE))


def test_query_begun_outside_is_bound_when_it_is_used_further_inside() -> None:
    mine = order_of(MINE)
    order_of(NEIGHBOUR)
    unbound = Order.objects.filter(title="order")
    with account_context(MINE):
        assert list(unbound.all()) == [mine]
        assert list(Order.objects.filter(pk__in=unbound.values("pk"))) == [mine]
        with pytest.raises(AccountNotSet):
            list(unbound)
    with account_context(ELSEWHERE):
        assert unbound.all().count() == 0
    with pytest.raises(AccountNotSet):
        list(unbound.all())


def test_form_with_a_choice_of_rows_is_defined_without_an_account() -> None:
    class LineForm(forms.ModelForm):
        class Meta:
            model = Line
            fields = ("order", "amount")

    mine, theirs = order_of(MINE), order_of(NEIGHBOUR)
    with account_context(MINE):
        assert list(LineForm().fields["order"].queryset) == [mine]
        assert LineForm({"order": mine.pk, "amount": 1}).is_valid()
        assert not LineForm({"order": theirs.pk, "amount": 1}).is_valid()


def test_joins_say_that_both_rows_are_of_one_account() -> None:
    with account_context(MINE):
        sql = str(Line.objects.filter(order__title="x").query)
        assert '"shop_order"."account_id" = "shop_line"."account_id"' in sql
        currency = str(Order.objects.filter(currency__name="x").query)
        assert currency.count("account_id") == 2  # selected, and filtered


def test_row_read_on_one_shard_is_not_stored_on_another() -> None:
    order = order_of(ELSEWHERE)
    order.account_id = MINE
    with account_context(MINE), pytest.raises(CrossAccount, match="was read from"):
        order.save()

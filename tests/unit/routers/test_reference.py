"""Reference models: written in the catalog, read beside the account, deleted only when unused.

Replication itself is tested on a cluster, in tests/cluster/test_reference.py.
"""

import json
from collections.abc import Callable
from contextlib import nullcontext
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, connections, models, transaction
from django.db.models import ProtectedError
from django.test.utils import isolate_apps

from routers import RoutingError, account_context, checks, shard_of
from routers.models import ReferenceModel, ShardedModel
from routers.reference.carry import check, publish_references, wait_for_references
from routers.reference.copies import differences, make_equal
from tests.unit.routers.shop.models import Currency, Order, Plan

pytestmark = pytest.mark.django_db(databases="__all__")
on_sqlite = pytest.mark.skipif(
    connection.vendor != "sqlite", reason="on PostgreSQL subscriptions carry: see tests/cluster"
)
on_postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="its triggers")

ACCOUNT = 1
SHARDS = ("shard01", "shard02", "shard03")
Capture = Callable[..., Any]


@pytest.fixture
def euro() -> Currency:
    """A currency with a copy on every shard."""
    made = Currency.objects.create(code="EUR", name="Euro")
    publish_references()
    connection.run_on_commit.clear()  # what follows is noted anew
    return made


def tamper(shard: str, **values: str) -> None:
    """Change all rows of a copy, as nobody should."""
    with transaction.atomic(using=shard), connections[shard].cursor() as cursor:
        if connections[shard].vendor == "postgresql":
            cursor.execute("SET LOCAL routers.carrying = 'on'")
        models.QuerySet(Currency, using=shard).update(**values)


def names(shard: str) -> dict[str, str]:
    return dict(models.QuerySet(Currency, using=shard).values_list("code", "name"))


@on_sqlite
@pytest.mark.parametrize(
    "write",
    [
        lambda: Currency.objects.create(code="SEK", name="Krona"),
        lambda: Currency.objects.bulk_create([Currency(code="SEK", name="Krona")]),
        lambda: Currency.objects.update(name="euro"),
        lambda: Currency.objects.filter(code="EUR").delete(),
        lambda: Currency.objects.get(code="EUR").delete(),
        lambda: Currency.objects.filter(code="EUR")._raw_delete("default"),
        lambda: Currency.objects.update_or_create(code="EUR", defaults={"name": "euro"}),
        lambda: connection.cursor().execute("UPDATE shop_currency SET name = 'raw'"),
        lambda: connection.cursor().execute("REPLACE INTO shop_currency VALUES ('SEK', 'x')"),
    ],
)
def test_every_way_to_write_is_carried(
    euro: Currency, django_capture_on_commit_callbacks: Capture, write: Callable[[], Any]
) -> None:
    with django_capture_on_commit_callbacks(using="default", execute=True) as carried:
        write()
    assert len(carried) == 1
    catalog = names("default")
    assert catalog != {"EUR": "Euro"}
    assert [names(shard) for shard in SHARDS] == [catalog] * 3


@on_sqlite
def test_once_a_transaction_and_not_when_it_is_rolled_back(
    django_capture_on_commit_callbacks: Capture,
) -> None:
    with django_capture_on_commit_callbacks(using="default") as carried:
        with transaction.atomic(using="default"):
            for code in ("EUR", "SEK", "NOK"):
                Currency.objects.create(code=code, name=code)
        with transaction.atomic(using="default"):
            Currency.objects.update(name="x")
            transaction.set_rollback(True, using="default")
    assert len(carried) == 1


@on_sqlite
def test_reading_is_not_writing(
    euro: Currency, django_capture_on_commit_callbacks: Capture
) -> None:
    with django_capture_on_commit_callbacks(using="default") as carried:
        list(Currency.objects.all())
    assert carried == []


def test_a_copy_is_read_beside_the_account(euro: Currency) -> None:
    tamper(shard_of(ACCOUNT), name="here")
    with account_context(ACCOUNT):
        assert Currency.objects.get().name == "here"
        assert Currency.objects.using("default").get().name == "Euro"
        order = Order.objects.create(title="x", currency_id="EUR")
        assert Order.objects.filter(currency__name="here").get() == order
    assert Currency.objects.get().name == "Euro"


def test_a_row_read_from_a_copy_is_saved_in_the_catalog(euro: Currency) -> None:
    with account_context(ACCOUNT):
        row = Currency.objects.get()
        row.name = "changed"
        row.save()
    assert names("default") == {"EUR": "changed"}


WRITES: dict[str, Callable[[], Any]] = {
    "save": lambda: Currency(code="SEK", name="x").save(using="shard01"),
    "create": lambda: Currency.objects.using("shard01").create(code="SEK"),
    "bulk_create": lambda: Currency.objects.using("shard01").bulk_create([Currency(code="SEK")]),
    "bulk_update": lambda: Currency.objects.using("shard01").bulk_update(
        [Currency(code="EUR", name="x")], ["name"]
    ),
    "update": lambda: Currency.objects.using("shard01").update(name="x"),
    "delete": lambda: Currency.objects.using("shard01").all().delete(),
    "row.delete": lambda: Currency(code="EUR").delete(using="shard01"),
    "raw_delete": lambda: Currency.objects.all()._raw_delete("shard01"),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_a_copy_is_not_written(euro: Currency, write: Callable[[], Any]) -> None:
    with pytest.raises(RoutingError, match=r"shop\.Currency is written in the catalog"):
        write()
    assert names("shard01") == {"EUR": "Euro"}


@on_postgresql
@pytest.mark.parametrize("sql", ["UPDATE shop_currency SET name = ''", "DELETE FROM shop_currency"])
def test_the_database_refuses_it_too(euro: Currency, sql: str) -> None:
    refused = pytest.raises(DatabaseError, match="shop_currency is a copy")
    with refused, transaction.atomic(using="shard01"), connections["shard01"].cursor() as cursor:
        cursor.execute(sql)
    assert names("shard01") == {"EUR": "Euro"}


DELETIONS: dict[str, Callable[[], Any]] = {
    "row": lambda: Currency.objects.get(code="EUR").delete(),
    "queryset": lambda: Currency.objects.filter(code="EUR").delete(),
}


@pytest.mark.parametrize("delete", DELETIONS.values(), ids=DELETIONS.keys())
@pytest.mark.parametrize("scope", [nullcontext(), account_context(ACCOUNT)], ids=["out", "in"])
def test_a_row_in_use_on_any_shard_is_not_deleted(
    euro: Currency, delete: Callable[[], Any], scope: Any
) -> None:
    other = next(account for account in range(2, 9) if shard_of(account) != shard_of(ACCOUNT))
    with account_context(other):
        Order.objects.create(title="x", currency=euro)
        Order.objects.create(title="y", currency=euro)
    message = rf"in use on {shard_of(other)}: 2 of shop\.Order\.currency .*\(EUR\)"
    with scope, pytest.raises(ProtectedError, match=message):
        delete()
    assert names("default") == {"EUR": "Euro"}


@pytest.mark.parametrize("delete", DELETIONS.values(), ids=DELETIONS.keys())
def test_a_row_that_nobody_uses_is_deleted(euro: Currency, delete: Callable[[], Any]) -> None:
    Currency.objects.create(code="SEK", name="Krona")
    with account_context(ACCOUNT):
        Order.objects.create(title="x", currency=None)
    assert delete() == (1, {"shop.Currency": 1})
    publish_references()
    assert [names(shard) for shard in SHARDS] == [{"SEK": "Krona"}] * 3


def test_a_shard_that_is_away_keeps_rows_from_being_deleted(
    euro: Currency, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*args: Any, **kwargs: Any) -> Any:
        raise DatabaseError("server is gone")

    with monkeypatch.context() as patch, connections["shard02"].execute_wrapper(away):
        patch.setattr(connections["shard02"], "in_atomic_block", True)
        with pytest.raises(RoutingError, match=r"Nothing was deleted: .* on shard02 .*gone"):
            euro.delete()
    assert names("default") == {"EUR": "Euro"}


def test_equal_copies_are_not_touched(euro: Currency) -> None:
    Currency.objects.create(code="SEK", name="Krona")
    assert make_equal("shard01") == {"shop.Currency": 1}
    assert make_equal("shard01") == {"shop.Currency": 0}


def test_differences_are_named() -> None:
    for code in ("EUR", "SEK"):
        Currency.objects.create(code=code, name=code)
    publish_references()
    Currency.objects.filter(code="SEK").delete()
    Currency.objects.create(code="NOK", name="Krone")
    tamper("shard02", name="wrong")
    assert check("shard02").as_dict() == {
        "shard": "shard02",
        "equal": False,
        "problem": "",
        "differences": [
            {
                "shard": "shard02",
                "model": "shop.Currency",
                "missing": ["NOK"],
                "extra": ["SEK"],
                "changed": ["EUR"],
            }
        ],
    }
    make_equal("shard02")
    assert differences("shard02") == []


def manage(*arguments: str) -> str:
    said = StringIO()
    call_command("reference", *arguments, stdout=said)
    return said.getvalue()


@on_sqlite
def test_commands(euro: Currency) -> None:
    assert "nothing to do" in manage("publish")
    assert "nothing to do" in manage("subscribe")
    assert {row["state"] for row in json.loads(manage("status", "--json"))} == {"in-process"}
    assert manage("check") == "shard01: equal\nshard02: equal\nshard03: equal\n"
    tamper("shard03", name="wrong")
    with pytest.raises(CommandError, match=r"catalog: shard03\. Mend it.*reference repair shard03"):
        manage("check")
    assert "1 shop.Currency" in manage("repair", "shard03")
    assert json.loads(manage("check", "--json"))[2]["equal"] is True
    with pytest.raises(CommandError, match=r"No shard: shard09\. There are shard01, shard02"):
        manage("check", "shard09")


@isolate_apps("tests.unit.routers.shop")
@pytest.mark.parametrize("on_delete", [models.CASCADE, models.SET_NULL, models.DO_NOTHING])
def test_a_reference_that_does_not_protect_is_found(
    monkeypatch: pytest.MonkeyPatch, on_delete: Any
) -> None:
    class Price(ShardedModel):
        currency = models.ForeignKey(Currency, on_delete=on_delete, null=True, related_name="+")

        class Meta(ShardedModel.Meta):
            app_label = "shop"

    monkeypatch.setattr(checks, "sharded_models", lambda: [Price])
    assert [problem.id for problem in checks.check_models(None)] == ["routers.E011"]


@isolate_apps("tests.unit.routers.shop")
def test_what_no_shard_has_a_copy_of_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class Tax(ReferenceModel):
        currencies = models.ManyToManyField(Currency)
        plan = models.ForeignKey(Plan, on_delete=models.CASCADE)
        everything = models.Manager()

        class Meta:
            app_label = "shop"

    monkeypatch.setattr(checks, "reference_models", lambda: [Tax])
    found = [problem.id for problem in checks.check_models(None)]
    assert found == ["routers.E012", "routers.E013", "routers.E013"]


def test_waiting_copies_where_nothing_is_subscribed() -> None:
    Currency.objects.create(code="EUR", name="Euro")
    wait_for_references()
    assert [names(shard) for shard in SHARDS] == [{"EUR": "Euro"}] * 3

"""One side of the bench of routing: a Django of its own that times what its parent asks for.

`plain` is a project with one database, no router and plain models; `routed` has the library. Both
have the same tables in the same database, through the same pooler. A line on standard input names
a query and how often; the answer is the nanoseconds of one.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

from django.conf import settings

ACCOUNT, ROWS = 5, 200  # the account asked for, and the orders of each


def main(kind: str, database: dict[str, Any]) -> None:
    configure(kind, database)
    queries = plain_queries() if kind == "plain" else routed_queries()
    for line in sys.stdin:
        name, _, times = line.rpartition(" ")
        print(timed(queries[name], int(times)), flush=True)


def configure(kind: str, database: dict[str, Any]) -> None:
    import django

    routed = kind == "routed"
    settings.configure(
        INSTALLED_APPS=["routers", "tests.unit.routers.shop"] if routed else [],
        DATABASES={"default": database} | ({"shard01": database} if routed else {}),
        DATABASE_ROUTERS=["routers.router.ShardRouter"] if routed else [],
        SHARDING={"SHARDS": {"shard01": 1}},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
    )
    django.setup()


def timed(query: Callable[[], object], times: int) -> float:
    """Nanoseconds of one."""
    query()
    began = time.perf_counter_ns()
    for _ in range(times):
        query()
    return (time.perf_counter_ns() - began) / times


def plain_queries() -> dict[str, Callable[[], object]]:
    from django.db import models

    class Order(models.Model):  # noqa: DJ008 - nobody prints it
        account_id = models.BigIntegerField()
        title = models.CharField(max_length=50)
        currency_id = models.CharField(max_length=3, null=True)  # noqa: DJ001 - the table is there
        parent_id = models.BigIntegerField(null=True)

        class Meta:
            app_label = "plain"
            db_table = "shop_order"

    key = Order.objects.filter(account_id=ACCOUNT).earliest("pk").pk
    return {
        "get": lambda: Order.objects.get(pk=key),
        "get of the account": lambda: Order.objects.get(account_id=ACCOUNT, pk=key),
        "list": lambda: list(Order.objects.order_by("-pk")[:20]),
        "list of the account": lambda: list(
            Order.objects.filter(account_id=ACCOUNT).order_by("-pk")[:20]
        ),
    }


def routed_queries() -> dict[str, Callable[[], object]]:
    from routers import ShardMap, account_context, shard_of
    from routers.router import ShardRouter
    from routers.shard_map import use_map
    from tests.unit.routers.shop.models import Order

    use_map(ShardMap.even(["shard01"]))
    account_context(ACCOUNT).__enter__()
    key = Order.objects.earliest("pk").pk
    router = ShardRouter()
    get, listing = (
        lambda: Order.objects.get(pk=key),
        lambda: list(Order.objects.order_by("-pk")[:20]),
    )
    return {
        "get": get,
        "get of the account": get,
        "list": listing,
        "list of the account": listing,
        "shard_of": lambda: shard_of(ACCOUNT),
        "db_for_read": lambda: router.db_for_read(Order),
        "nothing": lambda: None,
    }


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.stdin.readline()))

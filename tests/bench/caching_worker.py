"""One side of the bench of the cache: a Django of its own that times what its parent asks for.

`plain` has no cache; `ours` has `routers` and `caching`; `MGET` is redis-py alone; the others are
libraries, in an environment of their own. All have the same rows in the same tables, and the same
Redis. A line on standard input names a query and how often; the answer is the nanoseconds of one.
"""

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

if __name__ == "__main__":
    sys.path.pop(0)  # this folder, whose modules are called as packages are

from django.conf import settings

ACCOUNT, ROWS = 5, 200
INSTALLED = {
    "plain": [],
    "ours": ["routers", "caching"],
    "cache-machine": ["caching"],
    "cacheops": ["cacheops"],
    "cachalot": ["cachalot"],
}
ENTRIES = {"get": 360, "list": 1150, "count": 60, "filter": 360}
"""Bytes of ours."""


def main(kind: str, given: dict[str, Any]) -> None:
    queries = bare_queries(given["redis"]) if kind == "MGET" else queries_of(kind, given)
    for line in sys.stdin:
        name, _, times = line.rpartition(" ")
        print(timed(queries[name], int(times)), flush=True)


def bare_queries(url: str) -> dict[str, Callable[[], object]]:
    """The round trip that a hit cannot do without, for what lies where ours would."""
    import redis

    client = redis.Redis.from_url(url)
    client.set("floor:token", "=" + "x" * 16 + "@shard01:1")
    for query, size in ENTRIES.items():
        client.set(f"floor:{query}", "x" * size)
    return {query: partial(client.mget, "floor:token", f"floor:{query}") for query in ENTRIES}


def queries_of(kind: str, given: dict[str, Any]) -> dict[str, Callable[[], object]]:
    import django

    configure(kind, given)
    django.setup()
    return make_queries(*make_models(kind))


def configure(kind: str, given: dict[str, Any]) -> None:
    database, redis = given["database"], given["redis"]
    backend = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": redis}
    ours = kind == "ours"
    settings.configure(
        INSTALLED_APPS=INSTALLED[kind],
        DATABASES={"default": database} | ({"shard01": database} if ours else {}),
        DATABASE_ROUTERS=["routers.router.ShardRouter"] if ours else [],
        SHARDING={"SHARDS": {"shard01": 1}},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        SECRET_KEY="a bench's",
        CACHES={"default": backend} if kind != "plain" else {},
        CACHING=given.get("caching", {}) if ours else None,
        CACHEOPS_REDIS=redis,
        CACHEOPS={"*.*": {"ops": "all", "timeout": 3600}},
        CACHE_COUNT_TIMEOUT=3600,
        USE_TZ=True,
    )


def make_models(kind: str) -> tuple[Any, Any]:
    """(author, book) of that side."""
    from django.db import models

    base: Any = models.Model
    extra: dict[str, Any] = {"account_id": models.BigIntegerField(default=ACCOUNT)}
    meta: Any = object
    label_of_app = (INSTALLED[kind] or ["bench"])[-1]  # an installed one, for who pickles models
    if kind == "ours":
        from caching.managers import CachingManager
        from routers.models import ShardedModel

        base, meta = ShardedModel, ShardedModel.Meta
        extra = {"objects": CachingManager()}
    if kind == "cache-machine":
        from caching.base import (  # type: ignore[import-not-found]
            CachingManager as TheirManager,
        )
        from caching.base import CachingMixin

        class Mixed(CachingMixin, models.Model):  # type: ignore[misc]
            class Meta:
                abstract = True

        base, extra = Mixed, {**extra, "objects": TheirManager()}

    def model(label: str, /, **columns: Any) -> Any:
        bases = (meta,) if meta is not object else ()
        about = type(
            "Meta", bases, {"app_label": label_of_app, "db_table": f"bench_{label.lower()}"}
        )
        return type(label, (base,), {"__module__": __name__, "Meta": about, **extra, **columns})

    author = model("Author", name=models.CharField(max_length=50))
    book = model(
        "Book",
        title=models.CharField(max_length=50),
        copies=models.IntegerField(default=0),
        pages=models.IntegerField(default=300),
        bought_at=models.DateTimeField(null=True),
        read_at=models.DateTimeField(null=True),
        place=models.CharField(max_length=50, default="upstairs"),
        author=models.ForeignKey(author, models.CASCADE, null=True, related_name="books"),
    )
    return author, book


def make_queries(author: Any, book: Any) -> dict[str, Callable[[], object]]:
    from django.db import transaction

    if hasattr(book, "routers_placement"):
        from routers import ShardMap, account_context
        from routers.shard_map import use_map

        use_map(ShardMap.even(["shard01"]))
        account_context(ACCOUNT).__enter__()
    first = book.objects.order_by("title")[0]
    alias = first._state.db

    def save() -> None:
        first.copies += 1
        first.save()

    def save_in_transaction() -> None:
        with transaction.atomic(using=alias):
            save()

    def bulk_create() -> None:
        book.objects.bulk_create([book(title="zzz", account_id=ACCOUNT) for _ in range(100)])

    def list_from(start: int) -> list[Any]:
        return list(book.objects.select_related("author").order_by("title")[start : start + 20])

    return {f"list {number}": partial(list_from, number) for number in range(20)} | {
        "get": lambda: book.objects.get(pk=first.pk),
        "list": partial(list_from, 0),
        "count": lambda: book.objects.count(),
        "filter": lambda: list(book.objects.filter(title="book 007", copies=0)),
        "save": save,
        "save in a transaction": save_in_transaction,
        "bulk_create of 100": bulk_create,
    }


def timed(query: Callable[[], object], times: int) -> float:
    """Nanoseconds of one, once it was asked twice."""
    query()
    query()
    began = time.perf_counter_ns()
    for _ in range(times):
        query()
    return (time.perf_counter_ns() - began) / times


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.stdin.readline()))

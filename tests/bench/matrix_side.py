"""One side of the matrix: a Django with one cache, and a small library on two shards.

`ours` has `routers` and `caching`, and an account on each shard. The others have plain models, and
name the database in every query. They are set to go on without Redis, and not to try again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.conf import settings

__all__ = ["ACCOUNTS", "HOME", "OTHER", "PEERS", "TABLES", "Side"]

HOME, OTHER = 90_002, 90_001
ACCOUNTS = {HOME: "shard01", OTHER: "shard02"}  # where an even map has them
TABLES = ("matrix_tagging", "matrix_book", "matrix_tag", "matrix_author")
PEERS = ("cache-machine", "cacheops", "cachalot")
INSTALLED = {
    "ours": ["routers", "caching"],
    "cache-machine": ["caching"],
    "cacheops": ["cacheops"],
    "cachalot": ["cachalot"],
}
SOON = dict.fromkeys(
    ("LEASE_SECONDS", "OFF_SECONDS", "PATIENCE_SECONDS", "REST_SECONDS", "ANSWER_SECONDS"), 0.2
)

_account: ContextVar[int] = ContextVar("account", default=HOME)


class Side:
    """`given`: {"databases": {alias: login}, "redis": port}."""

    def __init__(self, kind: str, given: dict[str, Any]) -> None:
        self.kind, self.given = kind, given
        self.is_ours = kind == "ours"
        self.homes = dict(ACCOUNTS)
        self._version = 0
        _configure(kind, given)
        self.models = _models(kind)
        self.home_again()

    @contextmanager
    def on(self, account: int) -> Iterator[None]:
        """Work for that account in this block."""
        token = _account.set(account)
        try:
            if self.is_ours:
                from routers import account_context

                with account_context(account):
                    yield
            else:
                yield
        finally:
            _account.reset(token)

    @property
    def account(self) -> int:
        return _account.get()

    @property
    def alias(self) -> str:
        """The database of the account in force."""
        return self.homes[self.account]

    def rows(self, model: str) -> Any:
        """A model's manager, or its queryset of that database."""
        manager = self.models[model].objects
        return manager if self.is_ours else manager.using(self.alias)

    def move(self, account: int, alias: str) -> None:
        """The account lives there from now on: its rows are there already."""
        self.homes[account] = alias
        if self.is_ours:
            from routers import ShardMap
            from routers.shard_map import use_map

            self._version += 1
            pins = {one: place for one, place in self.homes.items() if place != ACCOUNTS[one]}
            slots = ShardMap.even(["shard01", "shard02"]).slots
            use_map(ShardMap(slots, pins, self._version))

    def home_again(self) -> None:
        """As in the beginning, and as if this process had just begun."""
        self.homes, self._version = dict(ACCOUNTS), -1
        self.move(HOME, ACCOUNTS[HOME])
        if self.is_ours:
            from caching import service, wire

            wire.forget()
            service.forget()


def _configure(kind: str, given: dict[str, Any]) -> None:
    import django
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    once = Retry(NoBackoff(), 0)
    redis = {"host": "127.0.0.1", "port": given["redis"], "retry": once}
    backend: dict[str, Any] = {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": f"redis://127.0.0.1:{given['redis']}/0",
    }
    if kind != "ours":
        backend["OPTIONS"] = {"CONNECTION_POOL_KWARGS": {"retry": once}, "IGNORE_EXCEPTIONS": True}
    settings.configure(
        INSTALLED_APPS=INSTALLED[kind],
        DATABASES={"default": given["databases"]["shard01"], **given["databases"]},
        DATABASE_ROUTERS=["routers.router.ShardRouter"] if kind == "ours" else [],
        SHARDING={"SHARDS": {"shard01": 1, "shard02": 2}},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        SECRET_KEY="a bench's",
        CACHES={"default": backend},
        CACHING={**SOON, **given.get("caching", {})},
        CACHEOPS_REDIS=redis,
        CACHEOPS_DEGRADE_ON_FAILURE=True,
        CACHEOPS={"*.*": {"ops": "all", "timeout": 3600}},
        CACHE_COUNT_TIMEOUT=3600,
        CACHE_EMPTY_QUERYSETS=True,
        USE_TZ=True,
    )
    django.setup()


def _bases(kind: str) -> tuple[tuple[Any, ...], Any, dict[str, Any]]:
    """(bases, the Meta to inherit, columns and managers that every model has)."""
    from django.db import models

    account = {"account_id": models.BigIntegerField()}
    if kind == "ours":
        from caching.mixins import CachingMixin
        from routers.models import ShardedModel

        return (CachingMixin, ShardedModel), ShardedModel.Meta, {}
    if kind == "cache-machine":
        from caching import base  # type: ignore[attr-defined]

        # On each model: one on an abstract base is never told of a save.
        return (base.CachingMixin, models.Model), object, account | {"objects": base.CachingManager}
    return (models.Model,), object, account


def _models(kind: str) -> dict[str, Any]:
    from django.db import models

    bases, meta, extra = _bases(kind)

    def model(name: str, /, **columns: Any) -> Any:
        about = {"app_label": INSTALLED[kind][-1], "db_table": f"matrix_{name.lower()}"}
        columns["Meta"] = type("Meta", (meta,), about)
        for key, value in extra.items():
            columns[key] = value() if isinstance(value, type) else value.clone()
        return type(name, bases, {"__module__": __name__, **columns})

    author = model("Author", name=models.CharField(max_length=50))
    tag = model("Tag", name=models.CharField(max_length=50))
    book = model(
        "Book",
        title=models.CharField(max_length=50),
        copies=models.IntegerField(default=0),
        place=models.CharField(max_length=50, default="upstairs"),
        author=models.ForeignKey(author, models.CASCADE, null=True, related_name="books"),
        tags=models.ManyToManyField(tag, through=f"{INSTALLED[kind][-1]}.Tagging"),
    )
    tagging = model(
        "Tagging",
        book=models.ForeignKey(book, models.CASCADE),
        tag=models.ForeignKey(tag, models.CASCADE),
    )
    found = {"Author": author, "Tag": tag, "Book": book, "Tagging": tagging}
    globals().update(found)  # libraries that pickle rows find the classes here
    return found

"""A process of a project that reads from a replica, driven by lines of JSON: see `Worker`.

One account is one order, whose title is the number of the last write. A guard can be switched off,
to see that the tests find it.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from tests.cluster.replicas_guards import WITHOUT

MEMORY_SECONDS = 60


def main(config: str, options: dict[str, Any]) -> None:
    configure(json.loads(Path(config).read_text()), options)
    for guard in options.get("without", ()):
        WITHOUT[guard]()
    for line in sys.stdin:
        order = json.loads(line)
        try:
            answer = COMMANDS[order.pop("do")](**order)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


def configure(config: dict[str, Any], options: dict[str, Any]) -> None:
    import django
    from django.conf import settings

    from config import cluster

    settings.configure(
        INSTALLED_APPS=["django.contrib.contenttypes", "routers", "tests.unit.routers.shop"],
        DATABASES=cluster.databases(config),
        DATABASE_ROUTERS=["routers.router.ShardRouter"],
        SHARDING={
            "SHARDS": {"shard01": 1},
            "REPLICAS": cluster.replicas(config),
            "REPLICA_REDIS": options.get("redis", config["cache"]),
            "REPLICA_MEMORY_SECONDS": options.get("memory", MEMORY_SECONDS),
        },
        SECRET_KEY="the same in every worker",
        MIDDLEWARE=["routers.middleware.AccountMiddleware"],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
    )
    django.setup()
    from routers import ShardMap
    from routers.shard_map import use_map

    use_map(ShardMap.even(["shard01"]))


def make() -> None:
    """The tables, as their owner."""
    from django.core.management import call_command

    call_command("migrate", database="shard01", run_syncdb=True, verbosity=0)


def read(account: int, cookie: str = "", times: int = 1) -> dict[str, Any]:
    """The number, and from where it came and why: in a unit of work of its own."""
    from routers import account_context
    from routers.replicas import units, visitor
    from tests.unit.routers.shop.models import Order

    request: Any = type("Request", (), {"COOKIES": {visitor.COOKIE: cookie}})
    unit = visitor.begin_request(request)
    try:
        with account_context(account):
            for _ in range(times):
                title = Order.objects.get().title
            choice = units.reading_from("shard01", account)
    finally:
        visitor.end_request(unit)
    return {"n": int(title), "alias": choice.alias, "why": choice.why}


def write(
    account: int, n: int, atomic: bool = True, read_first: bool = False, die: bool = False
) -> dict[str, Any]:
    """Write a number. `die`: killed between the commit and its recording.

    Returns what the unit itself reads afterwards, the visitor's cookie, and what the project's own
    on_commit callback found on Redis.
    """
    from django.http import HttpResponse

    from routers import account_atomic, account_context
    from routers.replicas import positions, units, visitor, written
    from routers.transactions import account_on_commit
    from tests.unit.routers.shop.models import Order

    seen: list[str] = []
    names = [written.name_of("shard01", account), written.name_of("shard01", None)]
    if die:
        positions.current = lambda primary: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore
    unit = units.begin()
    with account_context(account):
        before = Order.objects.get().title if read_first else ""
        with account_atomic() if atomic else nullcontext():
            if atomic:
                account_on_commit(lambda: seen.append(state(names)))
            if not Order.objects.update(title=str(n)):
                Order.objects.create(title=str(n))
        after = Order.objects.get().title
    units.end(unit)
    cookies = visitor.keep(HttpResponse(), unit).cookies
    cookie = cookies[visitor.COOKIE].value if cookies else ""
    return {"before": before, "n": int(after), "cookie": cookie, "on_commit": seen}


def state(names: list[str]) -> str:
    from routers.replicas import written

    try:
        return written.look(names[:1]).state
    except written.RedisAway:
        return "redis"


COMMANDS: dict[str, Callable[..., Any]] = {"make": make, "read": read, "write": write}

if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))

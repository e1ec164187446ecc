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

from celery import Celery

from tests.cluster.replicas_guards import WITHOUT

# Longer than a test takes, on any machine: a slow answer would send a read to the primary.
MEMORY_SECONDS = 600
ANSWER_SECONDS = 10.0


def main(config: str, options: dict[str, Any]) -> None:
    configure(json.loads(Path(config).read_text()), options)
    from routers.celery import carry_account

    be_patient()
    carry_account()
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


def be_patient() -> None:
    from routers.replicas import positions, written

    written.ANSWER_SECONDS = positions.ANSWER_SECONDS = ANSWER_SECONDS


def make() -> None:
    """The tables, as their owner."""
    from django.core.management import call_command

    call_command("migrate", database="shard01", run_syncdb=True, verbosity=0)


def read(account: int, cookie: str = "", times: int = 1) -> dict[str, Any]:
    """The number, and from where it came and why: in a unit of work of its own."""
    from routers import account_context
    from routers.replicas import visitor

    request: Any = type("Request", (), {"COOKIES": {visitor.COOKIE: cookie}})
    unit = visitor.begin_request(request)
    try:
        with account_context(account):
            for _ in range(times):
                found = read_here(account)
    finally:
        visitor.end_request(unit)
    return found


def read_here(account: int) -> dict[str, Any]:
    from routers.replicas import units
    from tests.unit.routers.shop.models import Order

    title = Order.objects.get().title
    choice = units.reading_from("shard01", account)
    return {"n": int(title), "alias": choice.alias, "why": choice.why}


def read_in_block(account: int) -> dict[str, Any]:
    """The number, in a transaction of the account's that writes nothing."""
    from routers import account_atomic, account_context
    from tests.unit.routers.shop.models import Order

    with account_context(account), account_atomic():
        return {"n": int(Order.objects.get().title)}


def write(
    account: int,
    n: int,
    atomic: bool = True,
    read_first: bool = False,
    die: bool = False,
    own_sql: bool = False,
) -> dict[str, Any]:
    """Write a number. `die`: killed between the commit and its recording.

    Returns what the unit itself reads afterwards, the visitor's cookie, the headers of a task that
    it sends, and what the project's own on_commit callback found on Redis.
    """
    from celery import signals
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
            store(account, n, own_sql)
        after = Order.objects.get().title
        message: dict[str, Any] = {}
        signals.before_task_publish.send("replicas", headers=message)
    units.end(unit)
    cookies = visitor.keep(HttpResponse(), unit).cookies
    cookie = cookies[visitor.COOKIE].value if cookies else ""
    told = {"cookie": cookie, "message": message, "on_commit": seen}
    return {"before": before, "n": int(after), **told}


def store(account: int, n: int, own_sql: bool = False) -> None:
    from django.db import connections

    from tests.unit.routers.shop.models import Order

    if own_sql:
        with connections["shard01"].cursor() as cursor:
            sql = "UPDATE shop_order SET title = %s WHERE account_id = %s"
            cursor.execute(sql, [str(n), account])
    elif not Order.objects.update(title=str(n)):
        Order.objects.create(title=str(n))


def task(message: dict[str, Any], n: int | None = None) -> dict[str, Any]:
    """A task of those headers: it reads the number as `read` does, or writes one."""
    from routers import current_account

    def work() -> dict[str, Any] | None:
        account = current_account()
        assert account
        return read_here(account) if n is None else store(account, n)

    app = Celery("replicas", broker="memory://", set_as_current=False)
    done = app.task(work, name="work").apply(headers=message, throw=True)
    found: dict[str, Any] = done.get()
    return found


def state(names: list[str]) -> str:
    from routers.replicas import written

    try:
        return written.look(names[:1]).state
    except written.RedisAway:
        return "redis"


COMMANDS: dict[str, Callable[..., Any]] = {
    command.__name__: command for command in (make, read, read_in_block, write, task)
}

if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))

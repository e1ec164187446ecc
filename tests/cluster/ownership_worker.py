"""Processes of a project on two shards: commands, and one that keeps an old map."""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

COMMANDS = ("migrate", "shards")


def main(config: str, do: str, *arguments: str) -> None:
    configure(json.loads(Path(config).read_text()))
    if do in COMMANDS:
        from django.core.management import call_command

        call_command(do, *arguments)
    else:
        stale(int(arguments[0]), int(arguments[1]))


def configure(config: dict[str, Any]) -> None:
    import django
    from django.conf import settings

    from config import cluster

    known = cluster.databases(config)
    settings.configure(
        INSTALLED_APPS=["django.contrib.contenttypes", "routers", "tests.unit.routers.shop"],
        DATABASES={alias: known[alias] for alias in ("default", "shard01", "shard02")},
        DATABASE_ROUTERS=["routers.router.ShardRouter"],
        SHARDING={"SHARDS": {"shard01": 1, "shard02": 2}, "OWNER_SECONDS": 0.2},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
    )
    django.setup()


def stale(account: int, times: int) -> None:
    """Read the map; when told to go on, write so often by it; then as one who has learnt."""
    from routers import account_context, refresh_map, shard_of
    from routers.exceptions import AccountMoved
    from routers.ownership.again import learn
    from tests.unit.routers.shop.models import Order

    refresh_map()
    with account_context(account):
        Order.objects.create(title="before")
        print(shard_of(account), flush=True)
        sys.stdin.readline()
        outcomes: Counter[str] = Counter()
        reads: Counter[str] = Counter()
        for number in range(times):
            outcomes[_outcome(WRITES[number % len(WRITES)])] += 1
            reads[_outcome(lambda: list(Order.objects.all()))] += 1
        try:
            Order.objects.create(title="after")
        except AccountMoved as error:
            learn(error)
        Order.objects.create(title="after")
        found = {"outcomes": outcomes, "reads": reads, "shard": shard_of(account)}
        print(json.dumps(found), flush=True)


def _outcome(work: Any) -> str:
    try:
        work()
    except Exception as error:
        return type(error).__name__
    return "done"


def _in_transaction() -> None:
    from routers import account_atomic
    from tests.unit.routers.shop.models import Order

    with account_atomic():
        Order.objects.create(title="stale")


def _alone() -> None:
    from tests.unit.routers.shop.models import Order

    Order.objects.create(title="stale")


def _many() -> None:
    from tests.unit.routers.shop.models import Order

    Order.objects.bulk_create([Order(title="stale") for _ in range(3)])


def _of_no_row() -> None:
    from tests.unit.routers.shop.models import Order

    Order.objects.filter(title="nothing").update(title="stale")


WRITES = (_in_transaction, _alone, _many, _of_no_row)

if __name__ == "__main__":
    main(*sys.argv[1:])

"""`celery -A tests.unit.routers.celery_app.app worker`, with keys and a queue of its own.

Every task appends [task, note, scope] to the list `QUEUE:told` in the broker's Redis.
"""

import json
import os
import time
from pathlib import Path
from typing import Any

import django
import redis
from celery import Celery, Task, signals
from celery.exceptions import Reject

from routers.celery import carry_account
from routers.conf import settings
from routers.context import account_context, current_scope
from routers.shard_map import ShardMap, use_map

BROKER = json.loads(Path(os.environ["FULCRUM_CONFIG"]).read_text())["broker"]
PREFIX = os.environ["ROUTERS_TEST_PREFIX"]
QUEUE = os.environ.get("ROUTERS_TEST_QUEUE", PREFIX)

django.setup()
use_map(ShardMap.even(sorted(settings().shards)))
app = Celery("routers_test", broker=BROKER, backend=BROKER)
app.conf.update(
    task_default_queue=QUEUE,
    broker_transport_options={"global_keyprefix": f"{PREFIX}:"},
    result_backend_transport_options={"global_keyprefix": f"{PREFIX}:"},
    broker_connection_retry_on_startup=True,
    worker_prefetch_multiplier=1,
)
carry_account()
server = redis.Redis.from_url(BROKER)


def tell(task: str, note: object = "") -> None:
    server.rpush(f"{QUEUE}:told", json.dumps([task, str(note), str(current_scope())]))


@signals.task_postrun.connect
def after(task: Any, **kwargs: Any) -> None:
    """Sent after the library's own receiver: what a worker is left with."""
    tell("after", task.name.rpartition(".")[2])


@app.task
def show(note: object = "") -> str:
    tell("show", note)
    return str(note)


@app.task
def collect(notes: list[str]) -> None:
    tell("collect", len(notes))


@app.task
def fail() -> None:
    raise ValueError("on purpose")


@app.task
def leak_and_fail(account: int) -> None:
    """Sets an account, never takes it away, and fails."""
    account_context(account).__enter__()
    raise ValueError(account)


@app.task(bind=True, max_retries=1)
def try_twice(self: Task, other: int) -> None:
    """Gives up the first time while another account is set."""
    tell("try_twice", self.request.retries)
    if self.request.retries == 0:
        with account_context(other):
            raise self.retry(countdown=0, exc=ValueError(other))


@app.task
def reject() -> None:
    raise Reject("not wanted")


@app.task
def send_on() -> None:
    """Sends one task for its own account, and one for another."""
    show.delay("own")
    with account_context(9):
        show.delay("other")


@app.task
def count_orders() -> None:
    """Sharded work: with an account its own rows, without one an error."""
    from routers.exceptions import AccountNotSet
    from tests.unit.routers.shop.models import Order

    try:
        tell("orders", Order.objects.count())
    except AccountNotSet as error:
        tell("orders", error)


@app.task
def failed(request: Any, error: Any, traceback: Any) -> None:
    """What `link_error` calls."""
    tell("failed", error)


@app.task(time_limit=1)
def never_end() -> None:
    """Only a prefork worker has hard time limits."""
    tell("never_end")
    time.sleep(600)

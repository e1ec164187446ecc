"""The account travels with a Celery task, in a header of its message.

In the project's celery.py: `carry_account()`. Then `task.delay(…)` inside `account_context(42)`
runs for account 42, and so do its retries, the next links of a chain, the tasks of a group, the
callback of a chord, and what the task itself sends. A scope of `all_accounts` travels likewise.
Beat has no account: its tasks set one themselves.

A task is one unit of work for reads from replicas: see `routers.replicas.units`. What its sender
has written goes with the message, so the task sees it even where Redis was not told.

A task that a shard refuses, since its account moves or has moved, is run again by `AccountTask`, as
a request is: where it is marked `idempotent=True`, or has left nothing behind. Name it to the
application: `Celery("shop", task_cls="routers.celery:AccountTask")`. One that is refused for longer
than SHARDING["MOVING_SECONDS"] is retried by Celery after a second; one that cannot be run again
fails with the error. Sending a task counts as having left something.

A task that is killed (a hard time limit, a lost worker) fails in the worker's main process, whose
`link_error` callbacks have no account: their sharded work raises.
"""

import time
from contextvars import Token
from dataclasses import asdict
from typing import Any

from celery import Task, signals

from routers.context import SCOPE, Scope, account_context, all_accounts, current_scope
from routers.exceptions import AccountElsewhere
from routers.ownership.again import Patience
from routers.ownership.attempt import attempting, mark_done
from routers.replicas.units import begin, current_unit, end
from routers.replicas.visitor import positions_in, taken_along

__all__ = ["HEADER", "POSITIONS", "AccountTask", "carry_account"]

HEADER = "routers_scope"
"""Its value: {"account_id": 42, "shard": None}, as `Scope`; None for a task without a scope."""
POSITIONS = "routers_positions"
"""What the sender has written: name → position, as the visitor's cookie."""


RETRY_SECONDS = 1


class AccountTask(Task):
    """A task that is run again where a shard has refused it."""

    abstract = True
    idempotent = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        patience = Patience()
        while True:
            try:
                with attempting() as attempt:
                    return super().__call__(*args, **kwargs)
            except AccountElsewhere as error:
                pause = patience.pause(error)
                if not (self.idempotent or attempt.left_nothing):
                    raise
                if pause is None:
                    raise self.retry(exc=error, countdown=RETRY_SECONDS) from error
            time.sleep(pause)


def carry_account() -> None:
    """Let tasks keep their account, in every Celery application of this process.

    Call it wherever tasks are sent or run: in the module of the application.
    """
    signals.before_task_publish.connect(_send, dispatch_uid="routers.send")
    signals.task_prerun.connect(_begin, dispatch_uid="routers.begin")
    signals.task_postrun.connect(_end, dispatch_uid="routers.end")


def _send(headers: dict[str, Any], **kwargs: Any) -> None:
    """A retry has the header already: it is the task's own, whatever was set when it gave up."""
    mark_done()
    headers.setdefault(HEADER, _written(current_scope()))
    unit = current_unit()
    if unit is not None and (positions := taken_along(unit)):
        headers[POSITIONS] = positions


def _begin(task: Any, **kwargs: Any) -> None:
    """Sets the scope without a condition: what the task before left behind cannot survive it.

    Celery goes on with the task when this raises, so the scope is taken away first.
    """
    request = task.request
    given = request.headers or {}
    here = current_scope() if request.is_eager else None
    request.routers_token = SCOPE.set(None)
    request.routers_unit = begin(
        lambda: positions_in(given.get(POSITIONS) or {}), anew=not request.is_eager
    )
    scope = _read(given[HEADER]) if HEADER in given else here
    SCOPE.set(scope)
    request.headers = {**given, HEADER: _written(scope)}  # for a retry


def _end(task: Any, **kwargs: Any) -> None:
    """A worker is left with nothing, an eager task's caller with what it had."""
    token: Token[Scope | None] | None = task.request.get("routers_token")
    if task.request.is_eager and token is not None:
        SCOPE.reset(token)
    else:
        SCOPE.set(None)
    end(task.request.get("routers_unit"))


def _written(scope: Scope | None) -> dict[str, Any] | None:
    return asdict(scope) if scope else None


def _read(given: dict[str, Any] | None) -> Scope | None:
    """Raises RoutingError for an account or a shard that cannot be."""
    if given is None:
        return None
    if given["account_id"] is not None:
        return account_context(given["account_id"]).scope
    return all_accounts(given["shard"]).scope

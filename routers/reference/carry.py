"""Reference models: written in the catalog, carried to every shard, proved equal.

On PostgreSQL a shard's subscription carries every commit (`manage.py reference subscribe`). On
SQLite the process that wrote copies, once its transaction has committed. A shard without a
subscription gets its copies by `publish_references`.

A read inside an account sees the shard's copy, so it may be a moment behind a write of one's own:
`Currency.objects.using("default")` reads the catalog, `wait_for_references()` waits for the copies.
"""

import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from django.db import OperationalError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from routers.conf import CATALOG, settings
from routers.exceptions import RoutingError
from routers.placement import reference_models
from routers.reference.copies import Difference, differences, make_equal
from routers.reference.publication import CopiesBehind, frozen, wait_until, written
from routers.reference.replication_slots import subscribed_shards

__all__ = [
    "Verdict",
    "carry_on_sqlite",
    "check",
    "publish_references",
    "wait_for_references",
]

logger = logging.getLogger(__name__)

WRITE = re.compile(
    r'\s*(?:INSERT\s+(?:OR\s+\w+\s+)?INTO|REPLACE\s+INTO|UPDATE|DELETE\s+FROM)\s+"?(\w+)', re.I
)


@dataclass(frozen=True)
class Verdict:
    """What `check` found on a shard: differences, and whether replication stands still."""

    shard: str
    differences: list[Difference]
    problem: str = ""

    @property
    def is_equal(self) -> bool:
        return not self.differences and not self.problem

    def as_dict(self) -> dict[str, Any]:
        found = [one.as_dict() for one in self.differences]
        return {"shard": self.shard, "equal": self.is_equal, "problem": self.problem} | {
            "differences": found
        }


def publish_references(shards: Iterable[str] | None = None) -> dict[str, int]:
    """Copy every reference model to the shards that have no subscription; label → rows there.

    One transaction a shard, so a reader sees the old copy or the new one. Raises RoutingError for
    a shard, named, that has a subscription: two that write a copy would be in each other's way.
    """
    subscribed = subscribed_shards()
    chosen = sorted(set(settings().shards) - subscribed if shards is None else shards)
    if refused := sorted(subscribed.intersection(chosen)):
        raise RoutingError(
            f"Replication carries the reference models to {', '.join(refused)}. Wait for it with "
            f"wait_for_references(); mend a copy with `manage.py reference repair`."
        )
    for shard in chosen:
        make_equal(shard)
    rows = {model._meta.label: model._base_manager.using(CATALOG) for model in reference_models()}
    return {label: queryset.count() for label, queryset in rows.items()}


def wait_for_references(timeout: float = 30) -> None:
    """Return when every shard has what the catalog has committed; shards without a subscription are
    copied to. Raises CopiesBehind after `timeout` seconds, RoutingError inside a transaction.
    """
    if len(subscribed := subscribed_shards()) < len(settings().shards):
        publish_references()
    if subscribed:
        wait_until(subscribed, written(), timeout)


def check(shard: str, timeout: float = 30) -> Verdict:
    """Prove that a shard's copies equal the catalog, row by row, or say which rows do not.

    Where a first look finds a difference, a second one decides: with what the catalog has written
    so far applied, and its writers waiting for as long as the look takes.
    """
    found = differences(shard)
    if not found or shard not in subscribed_shards():
        return Verdict(shard, found)
    try:
        wait_until([shard], written(), timeout / 2)
        with frozen(timeout) as lsn:
            wait_until([shard], lsn, timeout / 2)
            return Verdict(shard, differences(shard))
    except CopiesBehind as error:
        return Verdict(shard, differences(shard), str(error))


def carry_on_sqlite(sender: object, connection: BaseDatabaseWrapper, **kwargs: object) -> None:
    """Django's `connection_created`: watch what is written in the catalog, in whichever way."""
    watching = _watch in connection.execute_wrappers
    if connection.vendor == "sqlite" and connection.alias == CATALOG and not watching:
        connection.execute_wrappers.insert(0, _watch)


def _watch(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
    result = execute(sql, params, many, context)
    written_to = WRITE.match(sql)
    if written_to and written_to[1] in {model._meta.db_table for model in reference_models()}:
        waiting = context["connection"].run_on_commit
        if not any(function is _carry for _, function, *_ in waiting):
            transaction.on_commit(_carry, using=CATALOG)
    return result


def _carry() -> None:
    try:
        publish_references()
    except OperationalError as error:
        if "no such" not in str(error):
            raise
        logger.warning(
            "Reference models were written before every shard was migrated (%s). Afterwards: "
            "manage.py reference repair",
            error,
        )

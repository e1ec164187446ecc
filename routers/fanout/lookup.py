"""Finding a row by its primary key alone.

A key says on which shard its row was born; only a row of an account that has moved is elsewhere.
That shard is asked first, then the others at once: one query by primary key for each, at most.
"""

from collections.abc import Generator, Iterable
from typing import Any

from django.db import models

from routers.conf import settings
from routers.exceptions import RoutingError, ShardUnavailable
from routers.fanout.shard_reads import Policy, ShardReads
from routers.keys import born_on
from routers.managers import AccountQuerySet
from routers.placement import is_sharded
from routers.shard_map import shard_of

__all__ = ["account_of_id", "shard_of_id"]

JOBS = 16
TIMEOUT_SECONDS = 5.0


def shard_of_id(model: type[models.Model], pk: Any, *, timeout: float = TIMEOUT_SECONDS) -> str:
    """The shard of the row with that key, in whatever account.

    Raises `model.DoesNotExist` saying who was asked, and ShardUnavailable where a shard that did
    not answer within `timeout` seconds may have the row.
    """
    return shard_of(account_of_id(model, pk, timeout=timeout))


def account_of_id(model: type[models.Model], pk: Any, *, timeout: float = TIMEOUT_SECONDS) -> int:
    """The account of the row with that key; raises as `shard_of_id`."""
    if not is_sharded(model):
        raise RoutingError(f"{model._meta.label} is not sharded: its rows have no shard to find.")
    key = model._meta.pk.to_python(pk)
    away: dict[str, ShardUnavailable] = {}
    for shards in _in_turn(key):
        account = _ask(shards, model, key, Policy(timeout, JOBS, away))
        if account is not None:
            return account
    if away:
        raise next(iter(away.values()))
    asked = ", ".join(alias for shards in _in_turn(key) for alias in shards)
    missing = f"No {model._meta.label} has the key {pk}. Asked were {asked}."
    raise model.DoesNotExist(missing)  # type: ignore[attr-defined]


def _in_turn(key: int) -> list[list[str]]:
    """The shard where the key was made, and then the others. A shard may have left the cluster."""
    number = born_on(key)
    born = [alias for alias, own in settings().shards.items() if own == number]
    others = sorted(set(settings().shards) - set(born))
    return [shards for shards in (born, others) if shards]


def _ask(shards: Iterable[str], model: Any, key: int, policy: Policy) -> int | None:
    """The account that has such a row at its home: a copy elsewhere is a move's, and may be old."""

    def reading(alias: str) -> Generator[tuple[str, int], None, None]:
        for account in AccountQuerySet(model).filter(pk=key).values_list("account_id", flat=True):
            yield alias, account

    with ShardReads(shards, reading, None, policy) as reads:
        for alias, account in reads.arriving():
            if shard_of(account) == alias:
                return int(account)
    return None

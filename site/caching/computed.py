"""Values of one's own in the cache: whatever a function makes of rows, kept as rows are."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

from django.db import Error, models

from caching import service, store
from caching.conf import settings
from caching.places import Place, cached_tables, of_account, of_tables
from caching.plainness import VALUES
from caching.policy import policy
from caching.remember import remember
from caching.shapes import NotUnderstood, plain
from caching.transactions import transaction_of
from caching.watched import heed
from caching.wire import RedisAway
from routers.conf import settings as sharding
from routers.context import SCOPE, current_scope
from routers.exceptions import RoutingError
from routers.replicas.unit import primary_only

__all__ = ["Table", "cached"]

T = TypeVar("T")
Table = str | type[models.Model]


def cached(
    key: Iterable[Any],
    compute: Callable[[], T],
    *,
    seconds: int | None = None,
    tables: Iterable[Table] = (),
    shared: bool = False,
    on_miss: str = "compute",
    wait: float | None = None,
    stale: float = 0,
) -> T:
    """What `compute()` returns, from the cache where it is there and still right.

    `key`       ("what it is", …): plain values and rows; all that the answer depends on beside the
                rows that `compute` reads. The first one names it in counts and reports.
    `tables`    cached global or reference models, or names of their tables, that `compute` reads.
    `shared`    one answer for everybody: `compute` runs without an account, so it cannot read the
                rows of one. Without an account in force it is always so.
    `seconds`   how long it is kept at most; None: CACHING["SECONDS"].
    `on_miss`, `wait`, `stale`   see `caching.policy.policy`.

    In an account the answer is good until anything of the account is written, or of `tables`.
    Shared, until anything of `tables` is written. One round trip; with an account and tables, two.
    Inside a transaction it may be read, and is never kept; in one that has written it is computed.

    The answer is numbers, text, bytes, None, dates, times, decimals, UUIDs, and lists, tuples and
    dicts of those; any other is returned and not kept ("not plain" in the counts). Text comes back
    as str: mark it safe again.

    Raises RoutingError for a table whose writes nobody would be told of, and for a shared answer
    without tables; TypeError for a key that is not plain.
    """
    how, names, scope = policy(on_miss, wait, stale), _names(tables), current_scope()
    label, question = _told(key)
    is_shared = shared or scope is None
    if is_shared and not names:
        raise RoutingError(
            f"{label}: an answer for everybody depends on tables, whose writes end it. Name them, "
            f"tables=[Country], or compute it inside `with account_context(account_id):`."
        )
    ask = partial(_without_account, compute) if is_shared else compute
    if not settings().enabled:
        return ask()
    if is_shared or scope is None:
        place = of_tables(names)
    elif scope.account_id is None:  # all accounts of a shard: nobody's
        return ask()
    else:
        stamp = _stamp(of_tables(names)) if names else ""
        if stamp is None:
            return ask()
        place, question = of_account(scope), f"{question} {stamp}"
    life = seconds or settings().seconds
    return remember(place, label, question, life, VALUES, ask, partial(_of_primary, ask), how)


def _names(tables: Iterable[Table]) -> frozenset[str]:
    found = frozenset(one if isinstance(one, str) else one._meta.db_table for one in tables)
    if unknown := found - cached_tables():
        raise RoutingError(
            f"Nobody is told of writes to {', '.join(sorted(unknown))}. Name tables of global and "
            f"reference models whose manager caches, and read an account's rows inside its context."
        )
    return found


def _told(key: Iterable[Any]) -> tuple[str, str]:
    """(label, the key as text)."""
    parts = tuple(key)
    if not parts or type(parts[0]) is not str:
        raise TypeError(f'The key {parts!r} has no name. Begin it with one: ("price list", …).')
    try:
        return parts[0], repr(plain(parts))
    except NotUnderstood as error:
        raise TypeError(
            f"The key of {parts[0]!r} has a part of the type {error}, which does not say all about "
            f"itself. Use numbers, text, dates or rows."
        ) from None


def _without_account(compute: Callable[[], T]) -> T:
    """So what is for everybody cannot read the rows of somebody: AccountNotSet."""
    before = SCOPE.set(None)
    try:
        return compute()
    finally:
        SCOPE.reset(before)


def _of_primary(compute: Callable[[], T]) -> T:
    if not sharding().recorded:
        return compute()
    with primary_only():
        return compute()


def _stamp(place: Place) -> str | None:
    """The tokens of tables in the catalog, to be a part of an account's question.

    They are read before any SQL runs, and whoever finds the entry has read the same ones: so no
    write to those tables has come between. None where that is not to be known now.
    """
    heed(place)
    transaction = transaction_of(place.alias)
    if transaction.is_open:
        return None
    identity = service.current(place.alias, renew=True)
    if not identity:
        return None
    try:
        stamp = store.establish(place, store.look(place, ""))
    except (RedisAway, Error):
        return None
    return None if stamp is None else f"{identity} {stamp.decode()}"

"""One question to the cache, and what is done where it has no answer."""

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from hashlib import blake2b
from math import ceil
from sys import implementation
from time import perf_counter
from typing import TypeVar

import django
from django.apps import apps
from django.db import Error

from caching import service, store
from caching.codec import NotPlain
from caching.counts import count, took
from caching.entries import UNKNOWN, Entry, Packing, Seen
from caching.moments import spoil, spoilt
from caching.places import Place
from caching.policy import COMPUTE, Policy
from caching.stampede import Turn, await_turn, claim, give_up, never_kept, release
from caching.transactions import transaction_of
from caching.watched import heed
from caching.wire import RedisAway

__all__ = ["Packing", "remember", "schema"]

T = TypeVar("T")
FORMAT = "3"


def remember(
    place: Place,
    label: str,
    question: str,
    seconds: int,
    packing: Packing,
    ask: Callable[[], T],
    ask_primary: Callable[[], T] | None = None,
    policy: Policy = COMPUTE,
) -> T:
    """The answer from the cache, or from `ask`, kept for `seconds` where that is sure to be right.

    `ask_primary` asks a database that has every commit, for an answer that is kept. `label` is for
    counting. `policy` is about others who ask the same. Redis being away, or anything in it, is
    never an error here.
    """
    began = perf_counter()
    heed(place)
    transaction = transaction_of(place.alias)
    if transaction.bypasses:
        return ask()
    identity = service.current(place.alias, renew=not transaction.is_open)
    if not identity:
        count(label, "off")
        return ask()
    digest = _digest(f"{identity}\n{place.alias}\n{schema()}\n{label}\n{question}")
    entry = Entry(place, digest, packing, policy)
    turn = None
    try:
        seen = entry.look()
        if seen.answer is UNKNOWN or seen.is_early:
            turn = _turn(entry, seen, is_open=transaction.is_open)
            seen = turn.seen
    except (RedisAway, Error):
        count(label, "away")
        return ask()
    if turn is None or seen.answer is not UNKNOWN:
        kept: T = seen.answer
        outcome = "hit"
        if seen.is_stale:
            outcome = "stale"
            spoil()
        count(label, outcome, len(seen.found.entry or b""), perf_counter() - began)
        return kept
    if turn.stamp is None:
        count(label, "busy")
        return ask()
    return _computed(entry, turn, label, seconds, ask_primary or ask)


def _turn(entry: Entry, seen: Seen, *, is_open: bool) -> Turn:
    """An answer that is kept, or the turn to compute one. Raises RedisAway and database errors."""
    if is_open:
        return Turn(seen, None)
    if seen.answer is not UNKNOWN:
        lock = ""
        with suppress(RedisAway):  # it may be full: the answer is good for a while yet
            _, lock = claim(seen.found, 0)
        return Turn(Seen(seen.found) if lock else seen, seen.found.stamp, lock)
    stamp = store.establish(entry.place, seen.found)
    return Turn(seen, stamp) if entry.policy == COMPUTE else await_turn(entry, seen, stamp)


def _computed(entry: Entry, turn: Turn, label: str, seconds: int, ask: Callable[[], T]) -> T:
    began, before = perf_counter(), spoilt()
    try:
        answer = ask()
    except BaseException:
        with suppress(RedisAway):
            give_up(turn)
        raise
    cost = perf_counter() - began
    took(label, cost)
    if spoilt() > before:  # it is made of what is stale, or was rolled back
        with suppress(RedisAway):
            give_up(turn)
        count(label, "busy")
        return answer
    try:
        payload = entry.packed(answer, seconds, cost)
        _keep(entry, turn, payload, seconds)
    except NotPlain:
        count(label, "not plain")
        with suppress(RedisAway):
            never_kept(turn)
    except RedisAway:
        count(label, "away")
    else:
        count(label, "miss", len(payload))
    return answer


def _keep(entry: Entry, turn: Turn, payload: bytes, seconds: int) -> None:
    life, stamp = seconds + ceil(entry.policy.stale), turn.stamp or b""
    if turn.lock:
        release(turn, stamp + b"\n" + payload, life)
    else:
        store.fill(turn.seen.found, stamp, payload, life)


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=16).hexdigest()


@cache
def schema() -> str:
    """All models of the project, and whatever else decides on how an entry is read: for its key.

    So code with another model, Django or Python neither reads the entries of this one nor disturbs
    them.
    """
    known = [FORMAT, django.get_version(), str(implementation.cache_tag)]
    for model in apps.get_models(include_auto_created=True):
        fields = ",".join(
            f"{field.attname}:{field.column}:{type(field).__module__}.{type(field).__name__}"
            for field in model._meta.concrete_fields
        )
        known.append(f"{model._meta.label} {model._meta.db_table} {fields}")
    return _digest("\n".join(known))

"""One question to the cache, and what is done where it has no answer."""

from collections.abc import Callable
from functools import cache
from hashlib import blake2b
from sys import implementation
from time import perf_counter
from typing import Any, TypeVar

import django
from django.apps import apps
from django.db import Error

from caching import service, store, writes
from caching.codec import NotPlain, dump, load
from caching.counts import count, took
from caching.places import Place
from caching.wire import RedisAway

__all__ = ["Packing", "remember", "schema"]

T = TypeVar("T")
FORMAT = "1"


class Packing:
    """How an answer becomes plain values and one again; both raise NotPlain. Here: as it is."""

    def pack(self, answer: Any) -> Any:
        return answer

    def unpack(self, packed: Any) -> Any:
        return packed


def remember(
    place: Place,
    label: str,
    question: str,
    seconds: int,
    packing: Packing,
    ask: Callable[[], T],
    ask_primary: Callable[[], T] | None = None,
) -> T:
    """The answer from the cache, or from `ask`, kept for `seconds` where that is sure to be right.

    `ask_primary` asks a database that has every commit, for an answer that is kept. `label` is for
    counting. Redis being away, or anything in it, is never an error here.
    """
    began = perf_counter()
    transaction = writes.transaction_of(place.alias)
    if transaction.bypasses:
        return ask()
    identity = service.current(place.alias, renew=not transaction.is_open)
    if not identity:
        count(label, "off")
        return ask()
    digest = _digest(f"{identity}\n{place.alias}\n{schema()}\n{label}\n{question}")
    name = place.slot + digest
    try:
        found = store.look(place, digest)
        if found.payload is not None:
            try:
                answer: T = packing.unpack(load(found.payload, name))
            except NotPlain:
                pass
            else:
                count(label, "hit", len(found.payload), perf_counter() - began)
                return answer
        stamp = None if transaction.is_open else store.establish(place, found)
    except (RedisAway, Error):
        count(label, "away")
        return ask()
    if stamp is None:
        count(label, "busy")
        return ask()
    began = perf_counter()
    answer = (ask_primary or ask)()
    took(label, perf_counter() - began)
    _keep(found, stamp, label, name, seconds, packing, answer)
    return answer


def _keep(
    found: store.Found,
    stamp: bytes,
    label: str,
    name: str,
    seconds: int,
    packing: Packing,
    answer: Any,
) -> None:
    try:
        payload = dump(packing.pack(answer), name)
        store.fill(found, stamp, payload, seconds)
    except NotPlain:
        count(label, "not plain")
    except RedisAway:
        count(label, "away")
    else:
        count(label, "miss", len(payload))


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

"""Entries in the memory of this process, for tables that are read everywhere and rarely written.

A model asks for it: `cache_in_process = True`, on a global or reference model that is cached. A hit
then needs no round trip (rule 11):

    reader   An entry counts only while this process has a lease on the tokens in its stamp: for
             IN_PROCESS_LEASE seconds after it began to ask Redis and found them to be these. One
             MGET renews the leases on all such tables. Entries are gone after IN_PROCESS_SECONDS,
             and the oldest go when all take more than IN_PROCESS_BYTES.
    writer   After its mark, which ends all new leases, and before its COMMIT it waits until every
             lease has ended that may be older. So the promise is as it was, and such a write takes
             a tenth of a second more. That is the price; a model that is written often has no
             business here.

A message to all processes (NOTIFY, or Redis' own) could end leases sooner but not the wait: nobody
knows which processes there are, and one that did not hear cannot say so.

Two deploys turn it on: writers wait as soon as the model asks, readers keep nothing before
CACHING["IN_PROCESS_BYTES"] is set. In the other order to turn it off, or to make the lease longer.
"""

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from functools import cache

from django.apps import apps

from caching import store
from caching.clock import now
from caching.conf import settings
from caching.places import SHARED, Place, cached_tables
from caching.wire import wire

__all__ = ["clear", "forget", "look", "tables", "wait"]

SAFETY = 1.1  # clocks of two machines do not run at quite the same pace

_lock = threading.Lock()
_leases: dict[str, tuple[bytes, float]] = {}
"""Table → its token, and until when it is known to be that."""
_entries: OrderedDict[str, tuple[store.Found, float]] = OrderedDict()
"""Digest → what was found, and until when it is kept."""
_size = 0


@cache
def tables() -> frozenset[str]:
    """Those of models that ask for it."""
    asking = [model for model in apps.get_models() if getattr(model, "cache_in_process", False)]
    return frozenset(model._meta.db_table for model in asking) & cached_tables()


def look(place: Place, digest: str) -> store.Found:
    """As store.look, and without a round trip where this process has the entry and a lease."""
    if not settings().in_process_bytes or place.is_account or not tables().issuperset(place.names):
        return store.look(place, digest)
    held = _held(digest)
    if held is not None:
        if not _is_leased(place.names, held.stamp):
            _renew()
        if _is_leased(place.names, held.stamp):
            return held
    began = now()
    found = store.look(place, digest)
    _learn(place.names, found.values, began)
    _keep(digest, found)
    return found


def wait(marked: Iterable[Place]) -> None:
    """After the marks and before COMMIT: return when no older lease is left in any process."""
    if any(not tables().isdisjoint(place.names) for place in marked):
        until = now() + SAFETY * settings().in_process_lease
        while (left := until - now()) > 0:
            time.sleep(left)


def forget(digest: str) -> None:
    """It is about to be made anew."""
    with _lock:
        _drop(digest)


def clear() -> None:
    """Nothing is kept, and there is no lease."""
    global _size
    with _lock:
        _entries.clear()
        _leases.clear()
        _size = 0


def _is_leased(names: Sequence[str], stamp: bytes | None) -> bool:
    moment = now()
    with _lock:
        leases = [_leases.get(name, (b"", 0.0)) for name in names]
    if any(until < moment for _, until in leases):
        return False
    return b"|".join(token for token, _ in leases) == stamp


def _renew() -> None:
    """On all tables at once. Raises RedisAway."""
    names = sorted(tables())
    prefix = settings().prefix
    began = now()
    values = wire().call(
        lambda run: ("MGET", *(f"{prefix}:{run}:{{{SHARED}}}:v{name}" for name in names))
    )
    _learn(names, values, began)


def _learn(names: Sequence[str], values: Sequence[bytes | None], began: float) -> None:
    """A lease on each token under which something is valid; it counts from before the question."""
    until = began + settings().in_process_lease
    with _lock:
        for name, value in zip(names, values, strict=True):
            if value is not None and value[:1] == b"=":
                _leases[name] = value, until
            else:
                _leases.pop(name, None)


def _held(digest: str) -> store.Found | None:
    with _lock:
        found, until = _entries.get(digest, (None, 0.0))
        if found is None:
            return None
        if until < now():
            _drop(digest)
            return None
        _entries.move_to_end(digest)
        return found


def _keep(digest: str, found: store.Found) -> None:
    """The newest; the ones that were not asked for the longest make room."""
    global _size
    with _lock:
        _drop(digest)
        if found.payload is None:
            return
        _entries[digest] = found, now() + settings().in_process_seconds
        _size += _bytes(found)
        while _size > settings().in_process_bytes:
            _drop(next(iter(_entries)))


def _drop(digest: str) -> None:
    global _size
    found, _ = _entries.pop(digest, (None, 0.0))
    if found is not None:
        _size -= _bytes(found)


def _bytes(found: store.Found) -> int:
    return len(found.payload or b"") + len(found.entry or b"")


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()
    clear()


os.register_at_fork(after_in_child=_after_fork)

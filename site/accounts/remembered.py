"""What requests ask of the catalog, remembered for the time when it is away.

The catalog is asked first, always, and what it answers is what counts: a removed member is out with
the next request. Only while it is away does its last answer stand in, for ten minutes after it was
given; that bounds how long somebody who was removed just before, or from a host that still reaches
the catalog, may get in. What has never been answered is not there: such a request fails.

Kept in this process's memory, and in the cache for the other processes.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Any, TypeVar

from django.core.cache import cache
from django.core.exceptions import ObjectDoesNotExist
from django.db import models

from routers.catalog import CatalogAway, ask_catalog
from routers.conf import CATALOG

__all__ = ["REMEMBERED_SECONDS", "forget", "from_row", "remembered", "row_of"]

REMEMBERED_SECONDS = 600
SHARED_AGAIN_SECONDS = 60  # an unchanged answer is written to the cache no more often
PREFIX = "catalog:"
ENTRIES = 10_000

T = TypeVar("T")


def remembered(
    key: str,
    ask: Callable[[], T],
    *,
    freeze: Callable[[T], Any],
    thaw: Callable[[Any], T],
) -> T:
    """What `ask` reads from the catalog; while that is away, what it read last.

    `freeze` makes plain data of it (dictionaries, lists, None for nothing to remember), `thaw` the
    opposite. Raises what `ask` raises, and CatalogAway where nothing is remembered.
    """
    try:
        answer = ask_catalog(ask)
    except CatalogAway:
        kept = _memory.recall(key)
        if kept is None:
            raise
        return thaw(kept)
    except ObjectDoesNotExist:
        forget(key)
        raise
    _memory.keep(key, freeze(answer))
    return answer


def forget(key: str) -> None:
    """It is no longer so. Other processes may remember it until its time is over."""
    _memory.keep(key, None)


def row_of(instance: models.Model) -> dict[str, Any]:
    """A row as plain data: column attribute → value."""
    return {f.attname: getattr(instance, f.attname) for f in instance._meta.concrete_fields}


def from_row(model: type[models.Model], row: dict[str, Any]) -> Any:
    """The opposite of `row_of`. A column that is not in the row stays deferred."""
    names = [f.attname for f in model._meta.concrete_fields if f.attname in row]
    return model.from_db(CATALOG, names, [row[name] for name in names])


class _Memory:
    """Key → plain data, when the catalog said so, when it was shared. The oldest entries go."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._entries: OrderedDict[str, tuple[Any, float, float]] = OrderedDict()

    def keep(self, key: str, frozen: Any) -> None:
        """Remember it from now on; None: nothing any more."""
        now = time.time()
        with self._lock:
            known, _, shared_at = self._entries.pop(key, (None, 0.0, 0.0))
            if frozen is not None:
                share = known != frozen or now - shared_at > SHARED_AGAIN_SECONDS
                self._entries[key] = frozen, now, now if share else shared_at
                while len(self._entries) > ENTRIES:
                    self._entries.popitem(last=False)
        if frozen is None:
            if known is not None:
                cache.delete(PREFIX + key)
        elif share:
            cache.set(PREFIX + key, (frozen, now), REMEMBERED_SECONDS)

    def recall(self, key: str) -> Any:
        """What the catalog said last, if not too long ago; else None."""
        kept, said_at, _ = self._entries.get(key, (None, 0.0, 0.0))
        shared, shared_at = cache.get(PREFIX + key) or (None, 0.0)
        if shared_at > said_at:
            kept, said_at = shared, shared_at
        return kept if time.time() - said_at < REMEMBERED_SECONDS else None


_memory = _Memory()

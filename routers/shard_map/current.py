"""Which shard an account lives on.

An account's slot is `account_id % 4096`; each slot belongs to one shard; a pin sends one account
elsewhere. The catalog holds the map (`routers.models.MapVersion`); each process holds an immutable
snapshot, so a look-up is two dictionary or tuple accesses: no query, no lock. `watch` keeps the
snapshot of a server's process new.
"""

import logging
import os
import time
from enum import StrEnum
from threading import Lock

from routers.conf import CATALOG, settings
from routers.exceptions import NoShardMap, RoutingError
from routers.shard_map.snapshot import ShardMap

__all__ = [
    "Source",
    "confirm_map",
    "confirmed_at",
    "current_map",
    "held_map",
    "hold_correction",
    "publish_map",
    "refresh_map",
    "shard_of",
    "start_map",
    "use_map",
]

logger = logging.getLogger(__name__)


class Source(StrEnum):
    """Where a process has its map from."""

    CATALOG = "catalog"
    DISK = "disk"
    GIVEN = "given"  # by use_map


class _Held:
    """This process's snapshot. One attribute, replaced whole: readers need no lock, writers do."""

    snapshot: ShardMap | None = None
    source = Source.CATALOG
    confirmed_at: float | None = None
    lock = Lock()


def _new_lock() -> None:
    """A forked child's own: a thread that its parent had may have held the old one."""
    _Held.lock = Lock()


os.register_at_fork(after_in_child=_new_lock)


def current_map() -> ShardMap:
    """This process's snapshot; read on first use.

    Raises NoShardMap where the catalog holds none.
    """
    return _Held.snapshot or start_map()


def shard_of(account_id: int) -> str:
    """The alias of the account's shard, by this process's snapshot."""
    return (_Held.snapshot or start_map()).shard_of(account_id)


def held_map() -> tuple[ShardMap | None, Source]:
    """This process's snapshot as it is, and where it is from; nothing is read."""
    return _Held.snapshot, _Held.source


def confirmed_at() -> float | None:
    """When the catalog last said that this process's snapshot is the newest, in Unix seconds."""
    return _Held.confirmed_at


def confirm_map(version: int) -> None:
    """The catalog says that this is the newest version."""
    if _Held.snapshot is not None and _Held.snapshot.version == version:
        _Held.confirmed_at = time.time()


def refresh_map() -> ShardMap:
    """Read the newest map from the catalog and hold it. Raises NoShardMap and CatalogAway."""
    from routers.catalog import ask_catalog
    from routers.models import MapVersion

    newest = ask_catalog(MapVersion.objects.order_by("-version").first)
    if newest is None:
        raise NoShardMap
    held = _hold_newer(newest.to_map(), Source.CATALOG)
    confirm_map(newest.version)
    return held


def start_map() -> ShardMap:
    """The first map of a process: the catalog's, or the last one on disk where that is away.

    Raises NoShardMap where the catalog answers and holds none, CatalogAway without either.
    """
    from routers.catalog import CatalogAway
    from routers.shard_map.file import load_map

    try:
        return refresh_map()
    except CatalogAway:
        saved = load_map()
        if saved is None:
            raise
        logger.warning("The catalog is away: version %d of the map is from disk.", saved.version)
        return _hold_newer(saved, Source.DISK)


def use_map(snapshot: ShardMap) -> ShardMap:
    """Hold this snapshot in this process; nothing is stored. For tests and tools."""
    _Held.snapshot, _Held.source, _Held.confirmed_at = snapshot, Source.GIVEN, None
    return snapshot


def hold_correction(corrected: ShardMap) -> None:
    """Hold the snapshot of now with a correction, until another version is read."""
    with _Held.lock:
        if _Held.snapshot is not None and _Held.snapshot.version == corrected.version:
            _Held.snapshot = corrected


def _hold_newer(snapshot: ShardMap, source: Source) -> ShardMap:
    """Hold the snapshot unless a newer one is held already: a slow reader never turns back."""
    with _Held.lock:
        held = _Held.snapshot
        if held is None or held.version <= snapshot.version:
            _Held.snapshot, _Held.source = snapshot, source
        return _Held.snapshot or snapshot


def publish_map(changed: ShardMap, *, reason: str) -> ShardMap:
    """Store `changed` as the version after its own; held and announced once that is committed.

    Two writers that started from the same version cannot both win: the second one's version is
    taken, and it gets a RoutingError. So does a map that names an unknown shard.
    """
    from django.db import IntegrityError, transaction

    from routers.models import MapVersion

    unknown = {*changed.slots, *changed.pins.values()} - set(settings().shards)
    if unknown:
        raise RoutingError(
            f"The map names {', '.join(sorted(unknown))}; SHARDING['SHARDS'] has no such shard."
        )

    try:
        stored = MapVersion.objects.create(
            version=changed.version + 1,
            slots=changed.runs(),
            pins={str(account): shard for account, shard in sorted(changed.pins.items())},
            reason=reason,
        )
    except IntegrityError as error:
        raise RoutingError(
            f"Version {changed.version + 1} of the shard map exists already: somebody else changed "
            f"the map. Read it again with refresh_map() and apply the change to that."
        ) from error
    published = stored.to_map()
    transaction.on_commit(lambda: _published(published), using=CATALOG)
    return published


def _published(snapshot: ShardMap) -> None:
    from routers.shard_map.announce import announce

    _hold_newer(snapshot, Source.CATALOG)
    announce(snapshot.version)

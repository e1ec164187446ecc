"""The last known map on disk: what a process starts from while the catalog is away.

All processes of a host share one file. It is replaced in one step, and only by a newer version.
"""

import fcntl
import json
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from routers.conf import settings
from routers.exceptions import RoutingError
from routers.shard_map import ShardMap

__all__ = ["load_map", "save_map"]

logger = logging.getLogger(__name__)


def load_map() -> ShardMap | None:
    """The map in SHARDING["MAP_FILE"]; None where there is no file, or none that can be trusted.

    A file that is damaged, or names a shard that SHARDING["SHARDS"] has not, is logged and ignored.
    """
    path = settings().map_file
    try:
        return _read(path) if path else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RoutingError) as error:
        problem = f"{type(error).__name__}: {error}"
        logger.error("%s is ignored, it holds no shard map: %s. Delete it.", path, problem)
        return None


def save_map(snapshot: ShardMap) -> None:
    """Write the map to SHARDING["MAP_FILE"], unless that holds as new a one. Never raises OSError.

    Contents: {"version": 7, "slots": [[0, "shard01"], …], "pins": {"42": "shard02"}}.
    """
    path = settings().map_file
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_suffix(".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                saved = load_map()
                if saved is None or saved.version < snapshot.version:
                    _replace(path, snapshot)
            finally:
                # Closing would not do: a child forked meanwhile has the file open as well.
                fcntl.flock(lock, fcntl.LOCK_UN)
    except OSError as error:
        logger.warning("The shard map cannot be kept on disk: %s", error)


def _replace(path: Path, snapshot: ShardMap) -> None:
    pins = {str(account): shard for account, shard in sorted(snapshot.pins.items())}
    content = {"version": snapshot.version, "slots": snapshot.runs(), "pins": pins}
    temporary = path.with_suffix(".new")
    try:
        with temporary.open("w") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _read(path: Path) -> ShardMap:
    content: dict[str, Any] = json.loads(path.read_text())
    pins = {int(account): str(shard) for account, shard in content["pins"].items()}
    snapshot = ShardMap.from_runs(content["slots"], pins, int(content["version"]))
    unknown = {*snapshot.slots, *pins.values()} - set(settings().shards)
    if unknown:
        raise RoutingError(f"it names {', '.join(sorted(unknown))}, which SHARDING does not")
    return snapshot

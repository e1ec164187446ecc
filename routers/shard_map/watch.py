"""Keeps a server process's shard map new: one daemon thread that listens, looks and saves.

A new version is announced on Redis and read from the catalog at once. The catalog is looked at
anyway, every ten seconds, or within every second while Redis is away or not used. The thread has
connections of its own and works with short timeouts: no request ever waits for it.

`start()` belongs into the process's entry point (wsgi.py, Celery's worker_init). A forked child
starts its own thread. Commands and tests never start one: they read the map on first use.
"""

import logging
import os
import threading
import time
from collections.abc import Callable

from django.db import Error, connections

from routers.catalog import CatalogAway, ask_catalog, contact
from routers.conf import CATALOG, settings
from routers.exceptions import RoutingError
from routers.shard_map import (
    Source,
    confirm_map,
    confirmed_at,
    held_map,
    refresh_map,
    start_map,
)
from routers.shard_map.announce import Line, redis_errors
from routers.shard_map.file import save_map

__all__ = ["redis_state", "start", "stop", "tell_every_second"]

TICK_SECONDS = 1.0
FORK_WAITS_SECONDS = 5.0
STARTED_AT = time.time()

logger = logging.getLogger(__name__)


class Watcher(threading.Thread):
    """The thread. `redis_state` is "off", "away" or "listening"."""

    def __init__(self) -> None:
        super().__init__(name="routers-map-watch", daemon=True)
        self.redis_state = "away" if settings().map_redis else "off"
        self._line: Line | None = None
        self._stopping = threading.Event()
        self._look_at = 0.0

    def stop(self) -> None:
        """End within about two seconds."""
        self._stopping.set()

    def run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._turn()
            except Exception:
                logger.exception("The watcher of the shard map goes on after an error.")
                self._stopping.wait(TICK_SECONDS)
        self._hang_up()

    def _turn(self) -> None:
        _tell()
        if time.monotonic() >= self._look_at or contact.away_since is not None:
            self._look()
        if self._listen():
            self._look_at = 0.0

    def _look(self) -> None:
        """Read the catalog's version, and the map where that is another."""
        seconds = settings().map_poll_seconds
        if self.redis_state == "listening":
            seconds = settings().map_poll_seconds_with_redis
        self._look_at = time.monotonic() + seconds
        with _Fork.barred:
            look()

    def _listen(self) -> bool:
        """Wait for an announcement, a tick at most. Whether the catalog should be looked at."""
        seconds = min(TICK_SECONDS, settings().map_poll_seconds)
        if self.redis_state == "off":
            self._stopping.wait(seconds)
            return False
        began = time.monotonic()
        try:
            return self._heard()
        except redis_errors() as error:
            self._hang_up()
            self._told("away", f"Redis is away, the catalog is asked every second: {error}")
            self._stopping.wait(seconds - (time.monotonic() - began))
            return False

    def _heard(self) -> bool:
        if self._line is None:
            with _Fork.barred:
                self._line = Line()
            self._told("listening", "New versions of the shard map are heard on Redis.")
            return True  # one may have been announced before
        snapshot, _ = held_map()
        version = snapshot.version if snapshot else 0
        return self._line.announced(TICK_SECONDS, held=version) > version

    def _told(self, state: str, message: str) -> None:
        """Log a change of state once."""
        if self.redis_state != state:
            self.redis_state = state
            logger.log(logging.INFO if state == "listening" else logging.WARNING, message)

    def _hang_up(self) -> None:
        if self._line is not None:
            self._line.close()
        self._line = None


def look() -> None:
    """Read the catalog's version of the map, and the map itself where this process's is another.

    The newest map is kept on disk. An outage is noted, never raised.
    """
    from routers.models import MapVersion

    try:
        newest = MapVersion.objects.order_by("-version").values_list("version", flat=True)
        version = ask_catalog(newest.first, even_if_away=True)
        snapshot, source = held_map()
        if snapshot is None or source is not Source.CATALOG or (version or 0) > snapshot.version:
            snapshot = refresh_map()
        confirm_map(version or 0)
        save_map(snapshot)
    except CatalogAway as error:
        logger.debug("%s", error)
    except (Error, RoutingError) as error:
        logger.warning("The shard map cannot be read: %s", error)
    finally:
        connections[CATALOG].close()


_listeners: set[Callable[[int, float], None]] = set()


def tell_every_second(listener: Callable[[int, float], None]) -> None:
    """Call it every second with the map's version and the seconds since the catalog confirmed it.

    In a process without a watcher it is never called.
    """
    _listeners.add(listener)


def _tell() -> None:
    snapshot, _ = held_map()
    version = snapshot.version if snapshot else 0
    for listener in _listeners:
        listener(version, time.time() - (confirmed_at() or STARTED_AT))


_watcher: Watcher | None = None


def start() -> None:
    """Read the first map, from disk if the catalog is away, and watch from now on. Twice is once.

    Takes two seconds and a connection's timeout at most.
    """
    global _watcher
    if _watcher is not None and _watcher.is_alive():
        return
    if settings().map_redis:
        redis_errors()  # two threads that import redis at once disturb each other
    try:
        save_map(held_map()[0] or start_map())
    except (Error, RoutingError) as error:
        logger.warning("This process starts without a shard map: %s", error)
    finally:
        connections[CATALOG].close()
    _watcher = Watcher()
    _watcher.start()


def stop() -> None:
    """Watch no more."""
    global _watcher
    if _watcher is not None:
        _watcher.stop()
        _watcher.join()
        _watcher = None


def redis_state() -> str:
    """off, away or listening; "no watcher" where none runs."""
    return _watcher.redis_state if _watcher is not None and _watcher.is_alive() else "no watcher"


class _Fork:
    """Nobody forks while the thread makes a connection.

    libpq and the resolver have locks of their own: a child that copies one which is held would wait
    for ever at its first connection.
    """

    barred = threading.Lock()
    forking = threading.local()  # `may`: this thread took the lock

    @classmethod
    def before(cls) -> None:
        cls.forking.may = cls.barred.acquire(timeout=FORK_WAITS_SECONDS)

    @classmethod
    def in_parent(cls) -> None:
        if cls.forking.may:
            cls.barred.release()

    @classmethod
    def in_child(cls) -> None:
        """A child has none of its parent's threads: it starts its own watcher."""
        global _watcher
        cls.barred = threading.Lock()
        if _watcher is not None:
            _watcher = Watcher()
            _watcher.start()


os.register_at_fork(
    before=_Fork.before, after_in_parent=_Fork.in_parent, after_in_child=_Fork.in_child
)

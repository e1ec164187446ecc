"""The catalog as a server that may be away: asked within a deadline, and left alone while it is.

What is known of it is known to the whole process: the first request that finds it away keeps all
others from waiting for it, until the watcher (`routers.shard_map.watch`) has reached it again.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from django.db import Error, InterfaceError, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from routers.conf import CATALOG, settings
from routers.deadline import deadline, is_own
from routers.exceptions import RoutingError

__all__ = ["CatalogAway", "Contact", "ask_catalog", "contact", "guard", "is_away"]

RETRY_SECONDS = 5.0  # where no watcher runs
AWAY_STATES = ("08", "53", "57")  # connection, resources, operator: classes of SQLSTATE
CANCELLED = "57014"

T = TypeVar("T")


class CatalogAway(RoutingError, OperationalError):
    """The catalog did not answer, or has not answered just now and was not asked again."""

    def __init__(self, error: str) -> None:
        super().__init__(f"The catalog ({CATALOG}) is away: {error}. `make status` shows why.")


@dataclass
class Contact:
    """What this process knows of the catalog. Times are Unix seconds; None: never, or not away."""

    answered_at: float | None = None
    away_since: float | None = None
    error: str = ""
    retry_at: float = 0.0  # time.monotonic()

    def made(self) -> None:
        """It answered."""
        self.answered_at, self.away_since, self.error, self.retry_at = time.time(), None, "", 0.0

    def lost(self, error: Exception) -> None:
        """It did not."""
        self.away_since = self.away_since or time.time()
        self.error = (str(error).strip() or type(error).__name__).splitlines()[0]
        self.retry_at = time.monotonic() + RETRY_SECONDS


contact = Contact()
_thread = threading.local()  # `insists`: this thread asks although the catalog is away


def ask_catalog(ask: Callable[[], T], *, even_if_away: bool = False) -> T:
    """What `ask`, which reads from the catalog, returns in SHARDING["CATALOG_SECONDS"].

    Raises CatalogAway, which is an OperationalError too: at once where the catalog was away a
    moment ago, without asking it again.
    """
    connection, before = connections[CATALOG], getattr(_thread, "insists", False)
    _thread.insists = even_if_away or before
    try:
        with _noting_an_outage(connection), deadline(connection, settings().catalog_seconds):
            answer = ask()
    finally:
        _thread.insists = before
    contact.made()
    return answer


def guard() -> None:
    """From now on, bound every query of this process on the catalog as `ask_catalog` does.

    For servers: else a frozen catalog takes, one by one, every thread that serves people.
    """
    connection_created.connect(_guard, dispatch_uid="routers.catalog")


def _guard(sender: object, connection: Any, **kwargs: object) -> None:
    if connection.alias != CATALOG or is_own(connection) or "is_usable" in vars(connection):
        return

    def execute(run: Callable[..., Any], *arguments: Any) -> Any:
        with _noting_an_outage(connection), deadline(connection, settings().catalog_seconds):
            return run(*arguments)

    def is_usable() -> bool:  # Django's health check asks past all wrappers
        if contact.retry_at > time.monotonic():
            return False
        until = time.monotonic() + settings().catalog_seconds
        with deadline(connection, settings().catalog_seconds):
            usable = bool(type(connection).is_usable(connection))
        if time.monotonic() > until:
            contact.lost(TimeoutError("no answer in time"))
        return usable

    connection.execute_wrappers.append(execute)
    connection.is_usable = is_usable


@contextmanager
def _noting_an_outage(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Turns what a server's absence raises into CatalogAway, and that at once while it lasts."""
    if contact.retry_at > time.monotonic() and not getattr(_thread, "insists", False):
        connection.close()
        connection.errors_occurred = True  # for whoever tells which database an error is about
        raise CatalogAway(contact.error)
    try:
        yield
    except CatalogAway:
        raise
    except (OperationalError, InterfaceError) as error:
        if not is_away(error):
            raise
        connection.close()
        contact.lost(error)
        raise CatalogAway(contact.error) from error


def is_away(error: Error) -> bool:
    """Whether a database's error says that its server cannot be reached, or is going away."""
    cause = error.__cause__
    name = getattr(cause, "sqlite_errorname", None)
    if name is not None:
        return name == "SQLITE_CANTOPEN"
    state = getattr(cause, "pgcode", None) or getattr(cause, "sqlstate", None)
    return state is None or (state[:2] in AWAY_STATES and state != CANCELLED)

"""The catalog as a server that may be away: asked within a deadline, and left alone while it is.

What is known of it is known to the whole process: the first request that finds it away keeps all
others from waiting for it, until the watcher (`routers.map_watch`) has reached it again.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from django.db import Error, InterfaceError, OperationalError, connections

from routers.conf import CATALOG
from routers.deadline import deadline
from routers.exceptions import RoutingError

__all__ = ["CatalogAway", "Contact", "ask_catalog", "contact", "is_away"]

ANSWER_SECONDS = 2.0
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


def ask_catalog(ask: Callable[[], T], *, even_if_away: bool = False) -> T:
    """What `ask`, which reads from the catalog, returns within two seconds. Raises CatalogAway.

    Where the catalog was away a moment ago it is not asked at all: the error comes at once.
    """
    connection = connections[CATALOG]
    if contact.retry_at > time.monotonic() and not even_if_away:
        connection.errors_occurred = True  # for whoever tells which database an error is about
        raise CatalogAway(contact.error)
    try:
        with deadline(connection, ANSWER_SECONDS):
            answer = ask()
    except (OperationalError, InterfaceError) as error:
        if not is_away(error):
            raise
        connection.close()
        contact.lost(error)
        raise CatalogAway(contact.error) from error
    contact.made()
    return answer


def is_away(error: Error) -> bool:
    """Whether a database's error says that its server cannot be reached, or is going away."""
    cause = error.__cause__
    name = getattr(cause, "sqlite_errorname", None)
    if name is not None:
        return name == "SQLITE_CANTOPEN"
    state = getattr(cause, "pgcode", None) or getattr(cause, "sqlstate", None)
    return state is None or (state[:2] in AWAY_STATES and state != CANCELLED)

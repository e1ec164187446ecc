"""What an open transaction has written, and what becomes of it at its end.

Its connection calls it in Django's stead: a COMMIT that has anything to tell has the mark before it
and what settles it after (rules 4 to 6).
"""

import secrets
from typing import Any

from django.db import Error, connections

from caching import local, service, store
from caching.conf import settings
from caching.moments import spoil
from caching.places import Place, is_managed, of_tables
from caching.wire import RedisAway
from routers.direct import sqlstate

__all__ = ["Transaction", "transaction_of"]


class Transaction:
    """What the connection's open transaction has written, and what becomes of it at its end."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.places: set[Place] = set()
        self.everything = False  # of the whole database
        self._commit, self._rollback = connection._commit, connection._rollback
        self._savepoint_rollback, self._close = connection._savepoint_rollback, connection._close

    def attach(self) -> None:
        """From now on the connection's transactions end here."""
        held = self.connection
        held.caching_transaction = self
        held._commit, held._rollback = self.commit, self.rollback
        held._savepoint_rollback, held._close = self.savepoint_rollback, self.close

    @property
    def is_open(self) -> bool:
        """Whether what is read now is read inside a transaction."""
        return self.connection.in_atomic_block or not self.connection.autocommit

    @property
    def has_written(self) -> bool:
        """Whether anything was written in the open transaction, that is known."""
        return bool(self.places) or self.everything

    @property
    def bypasses(self) -> bool:
        """Whether its reads may see what nobody else sees, or must not see what others do."""
        if self.has_written:
            return True
        return self.is_open and (self.connection.isolation_level or 1) > 1

    def note(self, places: list[Place] | None) -> None:
        """It has written there; None: somewhere in the database."""
        if places is None:
            self.everything = True
        else:
            self.places.update(places)

    def clear(self) -> None:
        """It has ended."""
        self.places.clear()
        self.everything = False

    def commit(self) -> None:
        """COMMIT, with the mark before and what settles it after."""
        if not self.has_written:
            return self._commit()
        writer, places, alias = secrets.token_hex(8), self._together(), self.connection.alias
        marked = [] if self.everything else self._mark(places, writer)
        epoch = service.turn_off(alias) if len(marked) < len(places) or self.everything else None
        local.wait(marked)
        try:
            self._commit()
        except Error as error:
            if sqlstate(error):  # the server says that it was rolled back; else nobody knows
                self._settle(marked, writer)
            raise
        self.clear()
        self._settle(marked, writer)
        if epoch is not None:
            service.acknowledge(alias, epoch)
        return None

    def rollback(self) -> None:
        self._undo()
        self._rollback()

    def savepoint_rollback(self, sid: str) -> None:
        """What was written before it stays written, and is told."""
        if self.has_written:
            spoil()
        self._savepoint_rollback(sid)

    def close(self) -> None:
        self._undo()
        self._close()

    def _undo(self) -> None:
        """What this work has read since it wrote was never committed."""
        if self.has_written:
            spoil()
        self.clear()

    def _together(self) -> list[Place]:
        """The accounts; the tables of the catalog are one place."""
        tables = {name for place in self.places if not place.is_account for name in place.names}
        accounts = [place for place in self.places if place.is_account]
        return [*accounts, *([of_tables(frozenset(tables))] if tables else [])]

    @staticmethod
    def _mark(places: list[Place], writer: str) -> list[Place]:
        """Those that could be marked."""
        marked = []
        try:
            for place in places:
                store.mark(place, writer)
                marked.append(place)
        except RedisAway:
            pass
        return marked

    @staticmethod
    def _settle(places: list[Place], writer: str) -> None:
        """Where Redis is away the mark stays: readers go to the database, and recover later."""
        try:
            for place in places:
                store.settle(place, writer)
        except RedisAway:
            pass


def transaction_of(alias: str) -> Any:
    """The connection's Transaction; on an engine that is not watched, one that always bypasses.

    A connection that this thread has not opened yet has written nothing, and is not opened for it.
    """
    connection: Any = connections[alias]
    found = connection.__dict__.get("caching_transaction")
    if found is not None:
        return found
    if connection.vendor != "postgresql" or not settings().enabled or not is_managed(alias):
        return UNWATCHED
    if connection.connection is None and connection.settings_dict["AUTOCOMMIT"]:
        return UNOPENED
    connection.ensure_connection()
    return connection.__dict__.get("caching_transaction", UNWATCHED)


class _Nothing:
    """Of a connection whose writes nobody is told of, or that is not open yet."""

    def __init__(self, *, is_open: bool) -> None:
        self.bypasses = self.is_open = is_open

    def note(self, places: list[Place] | None) -> None:
        """Nobody is to be told."""


UNWATCHED, UNOPENED = _Nothing(is_open=True), _Nothing(is_open=False)

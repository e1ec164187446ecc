"""How a queryset reads from a replica, and goes on at the primary where the replica fails.

What was true when the replica was chosen is made sure at each query, by the replica itself: before
the query, and on the same server connection, it compares what it has replayed with what is needed.
So one that was killed and came back to an earlier state, behind the same pooler, is never believed.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from django.db import Error, InterfaceError, OperationalError, connections, models
from django.db.models.query import ModelIterable

from routers.conf import settings
from routers.direct import sqlstate
from routers.replicas.positions import leave_out, pg_lsn
from routers.replicas.units import current_unit, reading_from, served, wrote

__all__ = ["HomeRows", "ReplicaReads", "placed"]

M = TypeVar("M", bound=models.Model)
T = TypeVar("T")

# The cast of a text that is no number is an error, and it is not evaluated before it is needed.
WENT_BACK = "this replica lacks a write, it has replayed "
GUARD = (
    "SELECT CASE WHEN pg_is_in_recovery() AND pg_last_wal_replay_lsn() >= '{lsn}'::pg_lsn "
    f"THEN 1 ELSE ('{WENT_BACK}' || coalesce(pg_last_wal_replay_lsn()::text, ''))::int END; "
)
QUERY_CANCELED, CONFLICT_WITH_RECOVERY = "57014", "40001"


def placed(queryset: Any, account_id: int | None, alias: str) -> str:
    """The database of a queryset that would run on `alias`."""
    if queryset._for_write:
        wrote(alias, account_id)
        return alias
    if queryset._db is not None:
        return alias
    chosen = reading_from(alias, account_id).alias
    if chosen != alias:
        _guarded(chosen)
    return chosen


class ReplicaReads(models.QuerySet[M]):
    """The reads of a queryset, each tried again on the primary where a replica fails."""

    def _fetch_all(self) -> None:
        if not settings().recorded or self._result_cache is not None:
            return super()._fetch_all()
        return self._read(super()._fetch_all)

    def count(self) -> int:
        return self._read(super().count)

    def exists(self) -> bool:
        return self._read(super().exists)

    def aggregate(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return self._read(lambda: super(ReplicaReads, self).aggregate(*args, **kwargs))

    def _read(self, work: Callable[[], T]) -> T:
        if not settings().recorded or self._result_cache is not None:
            return work()
        alias = self._counted()
        try:
            return work()
        except Error as error:
            if self._db is not None or not _give_up(alias, error):  # type: ignore[attr-defined]
                raise
        self._counted()
        return work()

    def _counted(self) -> str:
        """The database of the read that begins."""
        alias: str = self.db
        begun = self._query.scope  # type: ignore[attr-defined]
        if begun.account_id is not None and self._db is None and not self._for_write:  # type: ignore[attr-defined]
            choice = reading_from(begun.alias(), begun.account_id)
            served[choice.alias, choice.why] += 1
        return alias


class HomeRows(ModelIterable):
    """Rows that say they are of the primary, wherever they were read.

    Django asks the database that a row names when it refreshes it or loads a deferred field, later
    and perhaps after a write; and it compares names when rows are saved and related.
    """

    def __iter__(self) -> Iterator[Any]:
        rows: Iterable[Any] = super().__iter__()
        for row in rows:
            _bring_home(row)
            yield row


def _bring_home(row: Any) -> None:
    seen = row._state.db
    home = settings().primary_of(seen)
    if home == seen:
        return
    row._state.db = home
    for related in (*vars(row).values(), *row._state.fields_cache.values()):
        if isinstance(related, models.Model):
            _bring_home(related)


def _give_up(alias: str, error: Error) -> bool:
    """Whether the read is to be tried again on the primary: it was the replica that failed."""
    if settings().primary_of(alias) == alias or sqlstate(error) == QUERY_CANCELED:
        return False
    went_back = WENT_BACK in str(error)
    if not went_back and not isinstance(error, OperationalError | InterfaceError):
        return False
    if sqlstate(error) != CONFLICT_WITH_RECOVERY:
        leave_out(alias)
    if unit := current_unit():
        unit.give_up_replicas()
    return True


def _guarded(replica: str) -> None:
    """See to it that this thread's connection has the guard; first, for others end by popping."""
    wrappers: list[Any] = connections[replica].execute_wrappers
    if _guard not in wrappers:
        wrappers.insert(0, _guard)


def _guard(
    execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    """Django's execute wrapper: the replica checks itself first, in the same message."""
    unit = current_unit()
    lsn = unit.needs(context["connection"].alias) if unit else ""
    named = getattr(context["cursor"].cursor, "name", None)  # a cursor in the server: one statement
    if lsn and not many and not named:
        sql = GUARD.format(lsn=pg_lsn(lsn)) + sql
    return execute(sql, params, many, context)

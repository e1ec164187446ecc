"""The transaction that is open on a primary: whether it has written, and who will hear of it."""

from functools import partial
from typing import Any

from django.db import Error, connections

__all__ = ["has_written", "in_transaction", "will_record"]


def in_transaction(alias: str) -> bool:
    """Whether this thread has a transaction open there, by `atomic` or by hand."""
    connection: Any = connections[alias]
    by_hand = connection.connection is not None and not connection.autocommit
    return connection.in_atomic_block or by_hand


def will_record(alias: str, name: str) -> bool:
    """Whether the open transaction has this thread's recording of that name among its first."""
    callbacks: list[Any] = connections[alias].run_on_commit
    for _, action, _ in callbacks:
        if not (isinstance(action, partial) and action.func.__name__ == "_record"):
            return False
        if action.args[1] == name:
            return True
    return False


def has_written(alias: str) -> bool:
    """Whether anything in the open transaction has written, by whatever SQL; False if it is lost.

    PostgreSQL gives a transaction its id at the first write or row lock, be it by a function in a
    SELECT. Where the engine does not tell, or a failed statement has ended the transaction, it
    counts as written.
    """
    connection: Any = connections[alias]
    if connection.needs_rollback:
        return False
    if connection.vendor != "postgresql":
        return True
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_current_xact_id_if_assigned() IS NOT NULL")
            return bool(cursor.fetchone()[0])
    except Error:
        return True

"""Positions in a shard's WAL: where the primary is, and up to where each replica has replayed.

A position is 16 hexadecimal digits, so that positions compare as strings do.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic

from django.db import Error, connections

from routers.deadline import deadline

__all__ = ["current", "has_reached", "is_lsn", "leave_out", "pg_lsn"]

# At the earliest after so long a replica is asked again, where what it had was not enough …
ASK_AGAIN_SECONDS = 0.05
# … and at the latest after so long where it was: one that is away is found out.
KNOWN_SECONDS = 1.0
ANSWER_SECONDS = 1.0
LEFT_OUT_SECONDS = 5.0


@dataclass
class _Replica:
    """What this process knows of a replica. `lsn`: it has replayed so much, and perhaps more."""

    lsn: str = ""
    asked_at: float = -LEFT_OUT_SECONDS
    left_out_until: float = 0.0


_replicas: dict[str, _Replica] = {}
os.register_at_fork(after_in_child=_replicas.clear)


def current(primary: str) -> str:
    """A position that holds everything committed on the primary. Raises django.db.Error.

    The insert position: with synchronous_commit = off, a commit returns before it is written out.
    """
    with connections[primary].cursor() as cursor:
        cursor.execute("SELECT pg_current_wal_insert_lsn()")
        return _lsn(cursor.fetchone()[0])


def has_reached(replica: str, lsn: str) -> bool:
    """Whether the replica answers, and has replayed so much. Asks it where that is not known."""
    known, now = _replicas.setdefault(replica, _Replica()), monotonic()
    if now < known.left_out_until:
        return False
    age = now - known.asked_at
    if age > (KNOWN_SECONDS if known.lsn >= lsn else ASK_AGAIN_SECONDS):
        known.asked_at = now
        try:
            known.lsn = _replayed(replica)
        except Error:
            leave_out(replica)
    return bool(known.lsn) and known.lsn >= lsn


def leave_out(replica: str) -> None:
    """Forget what is known of a replica that has failed, and ask it nothing for a while."""
    _replicas[replica] = _Replica(left_out_until=monotonic() + LEFT_OUT_SECONDS)
    with suppress(Error):
        connections[replica].close()


def _replayed(replica: str) -> str:
    """ "" where it is no replica: one that was promoted, or any other engine."""
    connection = connections[replica]
    if connection.vendor != "postgresql":
        return ""
    with deadline(connection, ANSWER_SECONDS), connection.cursor() as cursor:
        cursor.execute("SELECT pg_last_wal_replay_lsn() WHERE pg_is_in_recovery()")
        row = cursor.fetchone()
    return _lsn(row[0]) if row and row[0] else ""


def _lsn(text: str) -> str:
    """PostgreSQL's 1/2A as 000000010000002A."""
    high, low = text.split("/")
    return f"{int(high, 16):08X}{int(low, 16):08X}"


def pg_lsn(lsn: str) -> str:
    """The position as PostgreSQL writes it. Raises ValueError for anything else."""
    return f"{int(lsn[:8], 16):X}/{int(lsn[8:], 16):X}"


def is_lsn(text: object) -> bool:
    """Whether it is a position, of which nobody knows who sent it."""
    return isinstance(text, str) and len(text) == 16 and set(text) <= set("0123456789ABCDEF")

"""Primary keys that are unique over all shards, time-ordered, and made by the database.

A key is 63 bits: 41 of milliseconds since 2025-01-01 UTC, 9 of the number of the shard where the
row was born, 13 of a sequence. Rows can therefore move between shards unchanged, and insertion
order is index order. The layout follows Twitter's Snowflake (2010) and Instagram's
"Sharding & IDs" (2012). 2**13 keys a millisecond are more than one sequence can hand out.
"""

from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.expressions import Func

from routers.conf import settings
from routers.exceptions import RoutingError

__all__ = [
    "EPOCH_MS",
    "FUNCTION",
    "MAX_SHARD_NUMBER",
    "SEQUENCE_BITS",
    "KeyField",
    "born_at_ms",
    "born_on",
    "install",
    "make_key",
]

FUNCTION = "routers_next_key"

EPOCH_MS = 1_735_689_600_000  # 2025-01-01T00:00:00Z
SHARD_BITS, SEQUENCE_BITS = 9, 13
MAX_SHARD_NUMBER = 2**SHARD_BITS - 1


def make_key(unix_ms: int, shard_number: int, sequence: int) -> int:
    """The key of a row born at `unix_ms` (milliseconds) on that shard; `sequence` wraps at 8192."""
    since_epoch = unix_ms - EPOCH_MS
    low = sequence % 2**SEQUENCE_BITS
    return (since_epoch << (SHARD_BITS + SEQUENCE_BITS)) | (shard_number << SEQUENCE_BITS) | low


def born_on(key: int) -> int:
    """The number of the shard on which the row was created (it may have moved since)."""
    return (key >> SEQUENCE_BITS) & MAX_SHARD_NUMBER


def born_at_ms(key: int) -> int:
    """When the row was created, in milliseconds since 1970."""
    return (key >> (SHARD_BITS + SEQUENCE_BITS)) + EPOCH_MS


class NextKey(Func):
    """The database function that makes the next key."""

    function = FUNCTION
    arity = 0
    output_field = models.BigIntegerField()


class KeyField(models.BigAutoField):
    """A primary key whose column default is the shard's own key function."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["db_default"] = NextKey()
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> tuple[str, str, Any, Any]:
        name, path, args, kwargs = super().deconstruct()
        kwargs.pop("db_default", None)
        return name, path, args, kwargs

    # A plain bigint column: neither PostgreSQL's identity nor SQLite's rowid, which would each
    # take the default's place.
    def db_type(self, connection: BaseDatabaseWrapper) -> str:
        return "bigint"

    def db_type_suffix(self, connection: BaseDatabaseWrapper) -> None:
        return None

    def get_default(self) -> None:
        """None until the row is saved, as for any automatic key."""
        return


POSTGRESQL_FUNCTIONS = """
CREATE SEQUENCE IF NOT EXISTS routers_key_sequence CYCLE;
CREATE OR REPLACE FUNCTION routers_shard_number() RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS 'SELECT {number}::bigint';
CREATE OR REPLACE FUNCTION routers_next_key() RETURNS bigint
    LANGUAGE sql VOLATILE AS $$
    SELECT (((extract(epoch FROM clock_timestamp()) * 1000)::bigint - {epoch}) << {time_shift})
         | (routers_shard_number() << {shard_shift})
         | (nextval('routers_key_sequence') & {sequence_mask})
$$;
"""


def install(connection: BaseDatabaseWrapper) -> None:
    """Give a shard its key function. Run before every migration of a shard; changes nothing twice.

    Raises RoutingError where the shard already makes keys with another number.
    """
    number = settings().shards[connection.alias]
    if connection.vendor != "postgresql":
        return  # SQLite's function lives in the connection: see routers.sqlite.
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regproc('routers_shard_number') IS NOT NULL")
        if cursor.fetchone()[0]:
            cursor.execute("SELECT routers_shard_number()")
            _same_number(connection.alias, configured=number, stored=cursor.fetchone()[0])
            return
        cursor.execute(
            POSTGRESQL_FUNCTIONS.format(
                number=number,
                epoch=EPOCH_MS,
                time_shift=SHARD_BITS + SEQUENCE_BITS,
                shard_shift=SEQUENCE_BITS,
                sequence_mask=2**SEQUENCE_BITS - 1,
            )
        )


def _same_number(alias: str, *, configured: int, stored: int) -> None:
    if configured != stored:
        raise RoutingError(
            f"{alias} makes keys with the number {stored}, but SHARDING['SHARDS'] gives it "
            f"{configured}. A shard's number is permanent: set it back to {stored}."
        )

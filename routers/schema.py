"""What a shard needs beyond tables: first its key function, then replica identity and triggers."""

from django.apps import AppConfig
from django.db import connections, models
from django.db.backends.utils import CursorWrapper

from routers import keys, triggers
from routers.conf import settings
from routers.exceptions import RoutingError
from routers.ownership.install import install as install_ownership
from routers.placement import sharded_models
from routers.reference import copy_guard

__all__ = ["finish", "prepare"]


def prepare(sender: AppConfig, using: str, **kwargs: object) -> None:
    """Django's `pre_migrate`: the key function, which the tables' defaults call."""
    if using in settings().shards:
        keys.install(connections[using])


def finish(sender: AppConfig, using: str, **kwargs: object) -> None:
    """Django's `post_migrate`: all guards of the shard's tables; changes nothing twice.

    On PostgreSQL each sharded table's replica identity becomes (account_id, id), so that one
    account's rows can be replicated by themselves.
    """
    connection = connections[using]
    if using not in settings().shards:
        return
    there = set(connection.introspection.table_names())
    tables = [model for model in sharded_models() if model._meta.db_table in there]
    triggers.install(connection, tables)
    install_ownership(connection, tables)
    copy_guard.protect_copies(connection)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            for model in tables:
                _set_replica_identity(cursor, model)


def _set_replica_identity(cursor: CursorWrapper, model: type[models.Model]) -> None:
    """Raises RoutingError where the table has no unique index on (account_id, id)."""
    table = model._meta.db_table
    cursor.execute(
        """
        SELECT relname, indisreplident FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
        WHERE indrelid = to_regclass(%s) AND indisunique AND indimmediate AND indpred IS NULL
          AND pg_get_indexdef(indexrelid) LIKE '%%(account_id, id)'
        """,
        [table],
    )
    found = cursor.fetchall()
    if not found:
        raise RoutingError(
            f"{table} has no unique index on (account_id, id). {model._meta.label}'s Meta inherits "
            f"`ShardedModel.Meta`: run makemigrations and migrate again."
        )
    if not any(is_identity for _, is_identity in found):
        cursor.execute(f'ALTER TABLE "{table}" REPLICA IDENTITY USING INDEX "{found[0][0]}"')

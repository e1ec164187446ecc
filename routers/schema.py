"""What a shard needs beyond tables: before them its key function, after them its guards."""

from typing import Any

from django.apps import AppConfig
from django.db import connections, models
from django.db.backends.utils import CursorWrapper

from routers import keys
from routers.conf import settings
from routers.exceptions import RoutingError
from routers.placement import Placement, placement_of, sharded_models

__all__ = ["finish", "prepare"]


def prepare(sender: AppConfig, using: str, **kwargs: object) -> None:
    """Django's `pre_migrate`: the key function, which the tables' defaults call."""
    if using in settings().shards:
        keys.install(connections[using])


def finish(sender: AppConfig, using: str, **kwargs: object) -> None:
    """Django's `post_migrate`, on PostgreSQL; changes nothing twice.

    Each sharded table's replica identity becomes (account_id, id), so that one account's rows can
    be replicated by themselves; and each foreign key between sharded tables runs over the account
    too, so that the database itself refuses a reference into another account.
    """
    connection = connections[using]
    if using in settings().shards and connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            for model in sharded_models():
                _set_replica_identity(cursor, model)
                for field in model._meta.concrete_fields:
                    if isinstance(field, models.ForeignKey) and _is_sharded(field.related_model):
                        _tie_to_account(cursor, model, field)


def _is_sharded(model: Any) -> bool:
    return placement_of(model) is Placement.SHARDED


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


def _tie_to_account(cursor: CursorWrapper, model: type[models.Model], field: Any) -> None:
    """Put (account_id, field) → (account_id, id) in the place of Django's own foreign key."""
    table, target = model._meta.db_table, field.related_model._meta.db_table
    cursor.execute(
        """
        SELECT conname FROM pg_constraint JOIN pg_attribute
            ON attrelid = conrelid AND attname = %s AND conkey = ARRAY[attnum]
        WHERE conrelid = to_regclass(%s) AND contype = 'f'
        """,
        [field.column, table],
    )
    djangos = [name for (name,) in cursor.fetchall()]
    if djangos:
        drops = "".join(f', DROP CONSTRAINT "{name}"' for name in djangos)
        cursor.execute(
            f'ALTER TABLE "{table}" ADD FOREIGN KEY (account_id, "{field.column}") '
            f'REFERENCES "{target}" (account_id, id) DEFERRABLE INITIALLY DEFERRED{drops}'
        )

"""What a shard needs beyond its tables: the key function before them, replica identity after."""

from django.apps import AppConfig
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from routers import keys
from routers.conf import settings
from routers.placement import sharded_models

__all__ = ["account_index", "finish", "prepare"]


def prepare(sender: AppConfig, using: str, **kwargs: object) -> None:
    """Django's `pre_migrate`: the key function, which the tables' defaults call."""
    if using in settings().shards:
        keys.install(connections[using])


def finish(sender: AppConfig, using: str, **kwargs: object) -> None:
    """Django's `post_migrate`: each sharded table's replica identity is (account_id, id)."""
    connection = connections[using]
    if using in settings().shards and connection.vendor == "postgresql":
        _set_replica_identities(connection)


def account_index(table_prefix: str) -> str:
    """The name of a sharded model's unique index on (account_id, id); prefix "app_model"."""
    return f"{table_prefix}_account_row"


def _set_replica_identities(connection: BaseDatabaseWrapper) -> None:
    wanted = {
        account_index(f"{model._meta.app_label}_{model._meta.model_name}"): model._meta.db_table
        for model in sharded_models()
    }
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid "
            "WHERE relname = ANY(%s) AND NOT indisreplident",
            [list(wanted)],
        )
        quote = connection.ops.quote_name
        for (index,) in cursor.fetchall():
            cursor.execute(
                f"ALTER TABLE {quote(wanted[index])} REPLICA IDENTITY USING INDEX {quote(index)}"
            )

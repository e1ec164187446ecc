"""SQL of the cache's own, past Django's wrappers: it is no query of the project's."""

from typing import Any

from django.db import connections

from routers.catalog import ask_catalog
from routers.conf import CATALOG

__all__ = ["ask"]


def ask(alias: str, sql: str) -> Any:
    """One row; None where the statement gives none.

    Of a catalog that is away or frozen CatalogAway, an OperationalError, is raised in time.
    """
    # As before a query of the project's: a connection that broke while it was idle is no outage.
    connections[alias].close_if_health_check_failed()
    if alias == CATALOG:
        return ask_catalog(lambda: _asked(alias, sql))
    return _asked(alias, sql)


def _asked(alias: str, sql: str) -> Any:
    connection: Any = connections[alias]
    connection.ensure_connection()
    with connection.wrap_database_errors, connection.connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone() if cursor.description else None

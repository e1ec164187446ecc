"""Connections to the cluster's databases, for the runner itself."""

__all__ = ["ask", "login", "pooler_login"]

import contextlib
from typing import Any

import psycopg2

from infra.credentials import Credentials
from infra.schema import Description


def login(d: Description, name: str, user: str, password: str, **options: Any) -> Any:
    """A psycopg2 connection to the database of alias `name`, directly to its server."""
    node = d.servers[name]
    return psycopg2.connect(
        host=node.host,
        port=node.port,
        dbname=options.pop("dbname", d.database(name)),
        user=user,
        password=password,
        connect_timeout=5,
        **options,
    )


def ask(
    d: Description, credentials: Credentials, name: str, sql: str, *values: Any
) -> list[tuple[Any, ...]]:
    """What the server of alias `name` answers to its superuser."""
    with contextlib.closing(
        login(d, name, "postgres", credentials.superuser, dbname="postgres")
    ) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(sql, values)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows


def pooler_login(d: Description, dbname: str, user: str, password: str) -> Any:
    """A psycopg2 connection through the first pooler."""
    pooler = d.poolers[0]
    connection = psycopg2.connect(
        host=pooler.host,
        port=pooler.port,
        dbname=dbname,
        user=user,
        password=password,
        connect_timeout=5,
    )
    connection.autocommit = True
    return connection

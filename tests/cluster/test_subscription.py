"""A shard subscribes to tables of the catalog: what the roles and pg_hba.conf allow for it."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg2
import psycopg2.errors
import pytest
from psycopg2.extensions import make_dsn

from tests.cluster.harness import Cluster, eventually


def run(cluster: Cluster, alias: str, role: str, *statements: str) -> list[tuple[Any, ...]]:
    """Run statements in autocommit; the rows of the last."""
    with closing(cluster.connect(alias, role)) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        return list(cursor.fetchall()) if cursor.description else []


@pytest.fixture
def currency(scratch: Cluster) -> Iterator[str]:
    """A table on the catalog and on shard02, the catalog's with a row, and its publication."""
    for alias in ("default", "shard02"):
        run(scratch, alias, "owner", "CREATE TABLE currency (code text PRIMARY KEY)")
    run(
        scratch,
        "default",
        "owner",
        "INSERT INTO currency VALUES ('EUR')",
        "CREATE PUBLICATION toy FOR TABLE currency",
    )
    yield "currency"
    run(scratch, "shard02", "admin", "DROP SUBSCRIPTION IF EXISTS toy_shard02")
    run(scratch, "default", "owner", "DROP PUBLICATION toy")
    for alias in ("default", "shard02"):
        run(scratch, alias, "owner", "DROP TABLE currency")


def test_rows_of_the_catalog_arrive_on_a_shard(scratch: Cluster, currency: str) -> None:
    address = make_dsn(**scratch.config("admin")["references"])
    name = "CREATE SUBSCRIPTION toy_shard02"
    run(scratch, "shard02", "admin", f"{name} CONNECTION '{address}' PUBLICATION toy")
    found = f"SELECT code FROM {currency} ORDER BY code"
    eventually(lambda: run(scratch, "shard02", "app", found) == [("EUR",)])
    run(scratch, "default", "owner", f"INSERT INTO {currency} VALUES ('CHF')")
    eventually(lambda: run(scratch, "shard02", "app", found) == [("CHF",), ("EUR",)])


def test_the_role_that_copies_reads_the_catalog_and_changes_nothing(
    scratch: Cluster, currency: str
) -> None:
    given = scratch.config("owner")["references"]
    with closing(psycopg2.connect(**given)) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT code FROM {currency}")
        assert cursor.fetchall() == [("EUR",)]
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute(f"INSERT INTO {currency} VALUES ('CHF')")


def test_the_role_that_copies_knows_no_shard(scratch: Cluster) -> None:
    port = scratch.config("owner")["databases"]["shard02"]["port"]
    given = {**scratch.config("owner")["references"], "port": port, "dbname": "shard02"}
    with pytest.raises(psycopg2.OperationalError, match="rejects connection"):
        psycopg2.connect(**given)


def test_a_table_from_before_the_role_can_be_read_after_up(fragile: Cluster, currency: str) -> None:
    given = fragile.config("owner")["references"]
    run(fragile, "default", "owner", f"REVOKE SELECT ON {currency} FROM fulcrum_replication")
    fragile.up()
    with closing(psycopg2.connect(**given)) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT code FROM {currency}")
        assert cursor.fetchall() == [("EUR",)]


def test_the_application_has_no_address_for_it(scratch: Cluster) -> None:
    assert scratch.config()["references"] is None
    mode = (scratch.root / "site-admin.json").stat().st_mode & 0o777
    assert mode == 0o600

"""Who may do what: the application reaches PostgreSQL by the pooler alone, and changes no table."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psutil
import psycopg2
import psycopg2.errors
import pytest
import redis

from tests.cluster.harness import Cluster

ALIASES = ["default", "shard01", "shard01_replica", "shard02", "shard03", "shard04"]


@pytest.fixture
def table(scratch: Cluster) -> Iterator[str]:
    """A table on shard01, made by the owner."""
    with closing(scratch.connect("shard01", "owner")) as connection:
        cursor = connection.cursor()
        cursor.execute("DROP TABLE IF EXISTS access_test")
        cursor.execute("CREATE TABLE access_test (id bigserial PRIMARY KEY, word text)")
        yield "access_test"
        cursor.execute("DROP TABLE access_test")


def answer(connection: Any, sql: str) -> Any:
    """The first column of the first row."""
    with closing(connection):
        cursor = connection.cursor()
        cursor.execute(sql)
        return cursor.fetchone()[0]


@pytest.mark.parametrize("alias", ALIASES)
def test_the_application_reaches_each_database_through_the_pooler(
    scratch: Cluster, alias: str
) -> None:
    database = "catalog" if alias == "default" else alias.removesuffix("_replica")
    assert answer(scratch.connect(alias), "SELECT current_database()") == database
    assert answer(scratch.connect(alias), "SELECT current_user") == "fulcrum_app"


def test_the_application_cannot_log_in_at_postgresql(scratch: Cluster) -> None:
    port = scratch.config("owner")["databases"]["shard01"]["port"]
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        scratch.connect("shard01", port=port)


@pytest.mark.parametrize("database", ["postgres", "shard02", "template1"])
def test_the_owner_may_go_to_its_own_database_only(scratch: Cluster, database: str) -> None:
    with pytest.raises(psycopg2.OperationalError, match="rejects connection"):
        scratch.connect("shard01", "owner", name=database)


def test_the_superuser_is_unknown_to_the_pooler(scratch: Cluster) -> None:
    with pytest.raises(psycopg2.OperationalError, match="authentication failed"):
        scratch.connect("shard01", user="postgres", password=scratch.secret("superuser"))


def test_the_application_reads_and_writes_rows(scratch: Cluster, table: str) -> None:
    sql = f"INSERT INTO {table} (word) VALUES ('x') RETURNING id"
    assert answer(scratch.connect("shard01"), sql) == 1


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE mine (a int)",
        "CREATE TEMP TABLE mine (a int)",
        "DROP TABLE access_test",
        "TRUNCATE access_test",
        "ALTER TABLE access_test ADD COLUMN b int",
        "CREATE DATABASE mine",
        "CREATE ROLE mine",
        "SELECT rolpassword FROM pg_authid",
    ],
)
def test_the_application_changes_no_table(scratch: Cluster, table: str, sql: str) -> None:
    with (
        closing(scratch.connect("shard01")) as connection,
        pytest.raises(psycopg2.errors.InsufficientPrivilege),
    ):
        connection.cursor().execute(sql)


def test_every_pool_is_in_transaction_mode(scratch: Cluster) -> None:
    for alias in ALIASES:
        answer(scratch.connect(alias), "SELECT 1")
    with closing(scratch.pooler()) as console:
        cursor = console.cursor()
        cursor.execute("SHOW POOLS")
        names = [column.name for column in cursor.description]
        pools = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    modes = {pool["database"]: pool["pool_mode"] for pool in pools if pool["user"] == "fulcrum_app"}
    assert modes == dict.fromkeys(["catalog", *ALIASES[1:]], "transaction")


@pytest.mark.parametrize("purpose", ["cache", "broker"])
def test_redis_asks_for_its_password(scratch: Cluster, purpose: str) -> None:
    address = scratch.config()[purpose].replace(scratch.secret(purpose), "guess")
    with (
        redis.Redis.from_url(address) as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.ping()


def test_no_password_is_in_a_command_line_or_a_log(scratch: Cluster) -> None:
    names = ["superuser", "owner", "app", "monitor", "pooler_app", "cache", "broker"]
    passwords = [scratch.secret(name) for name in names]
    texts = [path.read_text(errors="replace") for path in (scratch.root / "logs").glob("*.log")]
    texts += [" ".join(process.cmdline()) for process in psutil.process_iter()]
    assert not [word for word in passwords for text in texts if word in text]

"""Who may do what: the application reaches PostgreSQL by the pooler alone, and changes no table.

And who may look: the monitoring login sees the poolers' pools, and a probe with the token sees them
in the site's /metrics.
"""

import contextlib
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psutil
import psycopg2
import psycopg2.errors
import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families

from tests.cluster.harness import Cluster, eventually
from tests.variants import Variant

ALIASES = ["default", "shard01", "shard01_replica", "shard02", "shard03", "shard04"]
PRODUCT = Variant("product", shift=5_000, fsync=True)
PROXIED = {"X-Forwarded-For": "93.184.216.34"}


@pytest.fixture(scope="module")
def product() -> Iterator[Cluster]:
    """All that `make up` starts, on other ports."""
    cluster = Cluster(PRODUCT.describe(), PRODUCT.root)
    cluster.run("up")
    yield cluster
    cluster.run("down")


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
    with pytest.raises(psycopg2.OperationalError, match="login rejected"):
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
    names = json.loads((scratch.root / "secrets.json").read_text()).keys() - {"demo_password"}
    assert {"superuser", "pooler_app", "pooler_monitor", "pooler_admin", "probe_token"} <= names
    passwords = [scratch.secret(name) for name in names]
    texts = [path.read_text(errors="replace") for path in (scratch.root / "logs").glob("*.log")]
    commands = (process.info["cmdline"] for process in psutil.process_iter(["cmdline"]))
    texts += [" ".join(command or []) for command in commands]
    assert not [word for word in passwords for text in texts if word in text]


def test_the_monitoring_login_looks_at_a_pooler_and_gives_no_order(scratch: Cluster) -> None:
    with closing(scratch.pooler()) as console, console.cursor() as cursor:
        cursor.execute("SHOW POOLS")
        assert cursor.fetchall()
        for order in ("RELOAD", "PAUSE shard01", "KILL shard01", "SHUTDOWN", "SET verbose = 1"):
            with pytest.raises(psycopg2.Error, match="admin access needed"):
                cursor.execute(order)


@pytest.mark.parametrize("who", ["monitor", "admin"])
def test_who_looks_after_a_pooler_gets_no_database(scratch: Cluster, who: str) -> None:
    """There it would be fulcrum_app."""
    login = {"user": f"fulcrum_{who}", "password": scratch.secret(f"pooler_{who}")}
    scratch.connect("default", name="pgbouncer", **login).close()
    with pytest.raises(psycopg2.OperationalError, match="login rejected"):
        scratch.connect("shard01", **login)


def test_the_application_gets_no_console(scratch: Cluster) -> None:
    with pytest.raises(psycopg2.OperationalError, match="not allowed"):
        scratch.connect("default", name="pgbouncer")


def probe(product: Cluster, path: str, **headers: str) -> tuple[int, str]:
    """What the running site says to a probe, whatever the status."""
    url = product.config()["public_url"] + path
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:  # noqa: S310
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def pools(product: Cluster, metric: str, **headers: str) -> dict[str, float]:
    """Database → a figure of its pool, in the site's /metrics."""
    status, text = probe(product, "/metrics", **headers)
    assert status == 200, text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    pooler = f"127.0.0.1:{product.config()['databases']['default']['port']}"
    up = {sample.labels["pooler"]: sample.value for sample in families["routers_pooler_up"].samples}
    assert up == {pooler: 1.0}
    return {sample.labels["database"]: sample.value for sample in families[metric].samples}


@contextlib.contextmanager
def paused(product: Cluster, database: str) -> Iterator[None]:
    """The pooler's administrator holds a database back, and a client waits for it."""
    login = {"user": "fulcrum_admin", "password": product.secret("pooler_admin")}
    done = threading.Event()

    def wait() -> None:
        while not done.is_set():  # the pooler tells it to go after some seconds
            with contextlib.suppress(psycopg2.OperationalError):
                answer(product.connect(database), "SELECT 1")

    client = threading.Thread(target=wait)
    with closing(product.connect("default", name="pgbouncer", **login)) as console:
        console.cursor().execute(f"PAUSE {database}")
        try:
            client.start()
            yield
        finally:
            done.set()
            console.cursor().execute(f"RESUME {database}")
            client.join()


def test_metrics_show_who_waits_for_each_database(product: Cluster) -> None:
    databases = {given["name"] for given in product.config()["databases"].values()}
    for metric in ("routers_pool_clients_waiting", "routers_pool_wait_seconds"):
        eventually(lambda metric=metric: pools(product, metric).keys() == databases)
    with paused(product, "shard04"):
        eventually(lambda: pools(product, "routers_pool_clients_waiting")["shard04"] > 0)
        eventually(lambda: pools(product, "routers_pool_wait_seconds")["shard04"] > 0)
    eventually(lambda: pools(product, "routers_pool_clients_waiting")["shard04"] == 0)


def test_a_probe_from_elsewhere_sees_the_inside_with_the_token_only(product: Cluster) -> None:
    """Behind a proxy the address says nothing, so without the token it is a stranger's."""
    token = {"Authorization": f"Bearer {product.secret('probe_token')}"}
    for headers in (PROXIED, {**PROXIED, "Authorization": "Bearer "}):
        status, text = probe(product, "/metrics", **headers)
        assert status == 403
        assert "shard01" not in text
        assert json.loads(probe(product, "/readyz", **headers)[1]) == {"ready": True}
    assert "shard01" in pools(product, "routers_pool_wait_seconds", **PROXIED, **token)
    said = json.loads(probe(product, "/readyz", **PROXIED, **token)[1])
    assert {"shard01", "shard02", "shard03", "shard04"} == said["shards"].keys()

"""Rendering is pure: sorted, the same every time, and passwords only in files of mode 0600."""

import json
import re
from dataclasses import asdict
from pathlib import Path

import jinja2
import pytest

from infra.credentials import Credentials
from infra.description import load
from infra.layout import CHECKOUT, Layout
from infra.programs import Binaries
from infra.render import File, render, template
from infra.schema import Description, Network, Node

ROOT = Path("/srv/fulcrum/.cluster")


@pytest.fixture(scope="module")
def description() -> Description:
    return load(CHECKOUT / "infra" / "cluster.yml").description


@pytest.fixture(scope="module")
def credentials() -> Credentials:
    return Credentials.generate()


@pytest.fixture(scope="module")
def files(description: Description, credentials: Credentials) -> dict[str, File]:
    return render(description, credentials, Layout(ROOT))


def test_the_same_input_gives_the_same_files_in_order(
    description: Description, credentials: Credentials, files: dict[str, File]
) -> None:
    assert files == render(description, credentials, Layout(ROOT))
    assert list(files) == sorted(files)
    assert {"site.json", "site-owner.json", "conf/shard04/pg_hba.conf"} <= set(files)


def test_no_file_has_a_date(files: dict[str, File]) -> None:
    for name, file in files.items():
        assert not re.search(r"20\d\d-\d\d|\d\d:\d\d:\d\d", file.content), name


def test_passwords_are_only_where_nobody_else_reads(
    credentials: Credentials, files: dict[str, File]
) -> None:
    passwords = {k: v for k, v in asdict(credentials).items() if k != "salt"}
    for name, file in files.items():
        found = [key for key, password in passwords.items() if password in file.content]
        assert not found or file.mode == 0o600, f"{found} in {name}"
    shown = [key for key in passwords if key in ("demo_password", "monitor")]
    assert not [k for k in shown for f in files.values() if passwords[k] in f.content]
    having = [name for name, f in files.items() if credentials.superuser in f.content]
    assert having == ["site-admin.json"]
    having = [name for name, f in files.items() if credentials.replication in f.content]
    assert having == ["site-admin.json", "site-owner.json"]


def test_only_the_pooler_knows_the_password_of_the_application_at_postgresql(
    credentials: Credentials, files: dict[str, File]
) -> None:
    having = [name for name, file in files.items() if credentials.app in file.content]
    assert having == ["conf/pooler/pgbouncer.ini"]
    assert credentials.app != credentials.pooler_app


def test_the_verifiers_in_roles_are_scram(files: dict[str, File]) -> None:
    sql = files["conf/shard01/roles.sql"].content
    assert len(set(re.findall(r"SCRAM-SHA-256\$4096:[\w+/=]+\$[\w+/=]+:[\w+/=]+", sql))) == 4


def test_pgbouncer_settings_stand_in_their_sections(files: dict[str, File]) -> None:
    head, _, tail = files["conf/pooler/pgbouncer.ini"].content.partition("[pgbouncer]")
    databases = re.findall(r"^(\w+) = host=127\.0\.0\.1 port=(\d+) dbname=(\w+) ", head, re.M)
    assert databases == [
        ("catalog", "15430", "catalog"),
        *((f"shard0{n}", f"1543{n}", f"shard0{n}") for n in range(1, 5)),
    ]
    assert "pool_mode = transaction" in tail
    assert "listen_port = 16432" in tail
    assert "default_pool_size = 20" in tail
    assert "host=" not in tail
    assert "\nauth_type = hba\n" in tail
    assert f"\nauth_hba_file = {ROOT}/conf/pooler/pooler_hba.conf\n" in tail


def test_the_monitoring_login_may_look_at_a_pooler_and_have_no_database(
    files: dict[str, File],
) -> None:
    """With a database it would be fulcrum_app in PostgreSQL."""
    settings = files["conf/pooler/pgbouncer.ini"].content
    assert re.findall(r"^(?:admin|stats)_users = (.*)$", settings, re.M) == [
        "fulcrum_admin",
        "fulcrum_monitor",
    ]
    lines = files["conf/pooler/pooler_hba.conf"].content.splitlines()
    rules = [line.split() for line in lines if line[0] != "#"]
    for network in ("0.0.0.0/0", "::0/0"):
        assert [[*rule[1:3], rule[4]] for rule in rules if rule[3] == network] == [
            ["pgbouncer", "fulcrum_admin,fulcrum_monitor", "scram-sha-256"],
            ["all", "fulcrum_app", "scram-sha-256"],
            ["all", "all", "reject"],
        ]
    assert len(rules) == 6


def test_the_site_may_look_at_every_pooler_and_knows_its_probes_token(
    description: Description, credentials: Credentials, files: dict[str, File]
) -> None:
    login = f"dbname=pgbouncer user=fulcrum_monitor password={credentials.pooler_monitor}"
    app, owner, admin = (json.loads(files[f"site{r}.json"].content) for r in ("", *ROLES))
    assert app["pooler_consoles"] == [f"host=127.0.0.1 port=16432 {login}"]
    assert app["probe_token"] == credentials.probe_token
    for other in (owner, admin):
        assert (other["pooler_consoles"], other["probe_token"]) == ([], None)
    second = description.poolers[0].model_copy(update={"name": "pooler2", "host": "10.0.0.9"})
    changed = description.model_copy(update={"poolers": [*description.poolers, second]})
    app = json.loads(render(changed, credentials, Layout(ROOT))["site.json"].content)
    assert app["pooler_consoles"][1] == f"host=10.0.0.9 port=16432 {login}"


ROLES = ("-owner", "-admin")


def test_only_the_pooler_and_the_runner_know_its_administrator(
    credentials: Credentials, files: dict[str, File]
) -> None:
    having = [name for name, file in files.items() if credentials.pooler_admin in file.content]
    assert having == ["conf/pooler/userlist.txt"]


def test_the_owner_may_begin_a_subscription_on_a_shard(files: dict[str, File]) -> None:
    grant = "GRANT EXECUTE ON FUNCTION pg_replication_origin_advance(text, pg_lsn) TO fulcrum_owner"
    sql = files["conf/shard01/roles.sql"].content
    assert grant in sql.partition("\\connect shard01\n")[2]
    assert grant not in files["conf/default/roles.sql"].content


def test_prepared_statements_are_named_only_to_a_pgbouncer_that_knows_them(
    description: Description, credentials: Credentials, files: dict[str, File]
) -> None:
    newer = Binaries(pgbouncer_version=(1, 24))
    later = render(description, credentials, Layout(ROOT), binaries=newer)
    assert "max_prepared_statements" in later["conf/pooler/pgbouncer.ini"].content
    assert "max_prepared_statements" not in files["conf/pooler/pgbouncer.ini"].content


def test_hba_lets_in_whom_it_must_and_nobody_else(files: dict[str, File]) -> None:
    lines = [
        line.split()
        for line in files["conf/shard02/pg_hba.conf"].content.splitlines()
        if line and line[0] != "#"
    ]
    assert [line[1:] for line in lines] == [
        ["all", "postgres", "samehost", "scram-sha-256"],
        ["shard02", "fulcrum_owner", "127.0.0.1/32", "scram-sha-256"],
        ["shard02", "fulcrum_app", "127.0.0.1/32", "scram-sha-256"],
        ["shard02,postgres", "fulcrum_monitor", "127.0.0.1/32", "scram-sha-256"],
        ["all", "all", "reject"],
        ["all", "all", "all", "reject"],
    ]


def test_cache_forgets_and_broker_does_not(files: dict[str, File]) -> None:
    cache, broker = (files[f"conf/{p}/redis.conf"].content for p in ("cache", "broker"))
    assert "maxmemory-policy allkeys-lru" in cache
    assert "appendonly no" in cache
    assert "maxmemory-policy noeviction" in broker
    assert "appendonly yes" in broker


def test_postgresql_survives_a_power_cut_unless_told_otherwise(
    description: Description, credentials: Credentials, files: dict[str, File]
) -> None:
    assert "\nfsync = on" in files["conf/default/postgresql.conf"].content
    careless = description.postgres.model_copy(update={"fsync": False})
    changed = description.model_copy(update={"postgres": careless})
    text = render(changed, credentials, Layout(ROOT))["conf/default/postgresql.conf"].content
    assert "\nfsync = off" in text
    assert "\nsynchronous_commit = off" in text


def test_the_site_reaches_postgresql_by_the_pooler_and_migrations_directly(
    credentials: Credentials, files: dict[str, File]
) -> None:
    app, owner = (json.loads(files[name].content) for name in ("site.json", "site-owner.json"))
    assert app["databases"]["shard03"] == {
        "host": "127.0.0.1",
        "port": 16432,
        "name": "shard03",
        "user": "fulcrum_app",
        "password": credentials.pooler_app,
        "number": 3,
    }
    assert owner["databases"]["default"] == {
        "host": "127.0.0.1",
        "port": 15430,
        "name": "catalog",
        "user": "fulcrum_owner",
        "password": credentials.owner,
    }
    assert app["cache"] == f"redis://:{credentials.cache}@127.0.0.1:16379/0"
    assert app["broker"] == f"redis://:{credentials.broker}@127.0.0.1:16380/0"
    assert (app["engine"], app["role"], app["debug"]) == ("postgresql", "app", False)
    assert app.keys() == owner.keys()
    assert app["directory_state"] == f"{ROOT}/state"


def test_the_admin_is_the_superuser_of_postgresql_itself(
    credentials: Credentials, files: dict[str, File]
) -> None:
    owner, admin = (json.loads(files[f"site-{name}.json"].content) for name in ("owner", "admin"))
    assert admin["databases"]["shard03"] == {
        **owner["databases"]["shard03"],
        "user": "postgres",
        "password": credentials.superuser,
    }
    assert (admin["role"], files["site-admin.json"].mode) == ("admin", 0o600)


def test_a_subscription_reaches_the_catalog_as_the_role_that_copies(
    credentials: Credentials, files: dict[str, File]
) -> None:
    sites = {role: json.loads(files[f"site{role}.json"].content) for role in ("", "-owner")}
    assert sites["-owner"]["references"] == {
        "host": "127.0.0.1",
        "port": 15430,
        "dbname": "catalog",
        "user": "fulcrum_replication",
        "password": credentials.replication,
    }
    assert sites[""]["references"] is None
    line = "host  catalog  fulcrum_replication  127.0.0.1/32  scram-sha-256"
    assert line in files["conf/default/pg_hba.conf"].content
    assert "fulcrum_replication" not in files["conf/shard01/pg_hba.conf"].content
    grant = "GRANT SELECT ON TABLES TO fulcrum_replication"
    assert grant in files["conf/default/roles.sql"].content
    assert grant not in files["conf/shard01/roles.sql"].content


def with_replicas(d: Description, count: int) -> Description:
    """The description with replicas of shard01 on hosts of their own."""
    nodes = [Node(role="replica", host=f"10.0.0.{n}", port=5432) for n in range(1, count + 1)]
    first, *others = d.shards
    first = first.model_copy(update={"nodes": [*first.nodes, *nodes]})
    return d.model_copy(update={"shards": [first, *others]})


@pytest.mark.parametrize("count", [1, 3])
def test_replicas_are_rendered(
    description: Description, credentials: Credentials, files: dict[str, File], count: int
) -> None:
    rendered = render(with_replicas(description, count), credentials, Layout(ROOT))
    names = ["shard01_replica", "shard01_replica2", "shard01_replica3"][:count]
    made = {f"conf/{name}/{file}" for name in names for file in REPLICA_FILES}
    assert rendered.keys() - files.keys() == made
    for n, name in enumerate(names, 1):
        settings = rendered[f"conf/{name}/postgresql.conf"].content
        primary = f"host=127.0.0.1 port=15431 user=fulcrum_replication application_name={name}"
        pgpass = f"passfile=''{ROOT}/conf/{name}/pgpass''"
        assert f"\nprimary_conninfo = '{primary} {pgpass}'\n" in settings
        assert f"\nprimary_slot_name = '{name}'\n" in settings
        assert "\nport = 5432\n" in settings
        assert rendered[f"conf/{name}/pgpass"].mode == 0o600
        app, owner = (json.loads(rendered[f"site{r}.json"].content) for r in ("", "-owner"))
        assert app["databases"][name] == {
            **app["databases"]["default"],
            "name": name,
            "replica_of": "shard01",
        }
        assert owner["databases"][name]["host"] == f"10.0.0.{n}"
        assert owner["databases"][name]["name"] == "shard01"
        pool = rf"^{name} = host=10\.0\.0\.{n} port=5432 dbname=shard01 user=fulcrum_app "
        assert re.search(pool, rendered["conf/pooler/pgbouncer.ini"].content, re.M)
        assert f"[program:{name}]" in rendered["conf/supervisord.conf"].content


REPLICA_FILES = ("postgresql.conf", "pg_hba.conf", "pgpass")


@pytest.mark.parametrize("count", [1, 3])
def test_a_replica_lets_in_whom_its_primary_lets_in(
    description: Description, credentials: Credentials, count: int
) -> None:
    rendered = render(with_replicas(description, count), credentials, Layout(ROOT))
    primary = rendered["conf/shard01/pg_hba.conf"].content
    assert rendered["conf/shard01_replica/pg_hba.conf"].content == primary
    found = re.findall(r"^host  replication  fulcrum_replication  (\S+)", primary, re.M)
    assert found == [*(f"10.0.0.{n}/32" for n in range(1, count + 1)), "127.0.0.1/32"]


def test_a_primary_follows_nobody(files: dict[str, File]) -> None:
    for name, file in files.items():
        if name.endswith("postgresql.conf"):
            assert "primary_conninfo" not in file.content
            assert "\nmax_slot_wal_keep_size = 4GB\n" in file.content


def test_sqlite_needs_no_server(description: Description, credentials: Credentials) -> None:
    files = render(description, credentials, Layout(ROOT), "sqlite")
    assert set(files) == {"conf/gunicorn.conf.py", "conf/supervisord.conf", "site.json"}
    site = json.loads(files["site.json"].content)
    assert site["databases"]["shard01"] == {"name": f"{ROOT}/sqlite/shard01.sqlite3", "number": 1}
    assert site["databases"]["default"] == {"name": f"{ROOT}/sqlite/catalog.sqlite3"}
    assert (site["cache"], site["broker"]) == (None, None)
    assert (site["pooler_consoles"], site["probe_token"]) == ([], None)
    assert site["directory"] == f"{ROOT}/sqlite"
    assert "workers = 1" in files["conf/gunicorn.conf.py"].content
    assert re.findall(r"\[program:(\w+)\]", files["conf/supervisord.conf"].content) == ["web"]


def test_a_path_with_a_percent_sign_and_a_space(
    description: Description, credentials: Credentials
) -> None:
    text = render(description, credentials, Layout(Path("/srv/a b/100%")))["conf/supervisord.conf"]
    assert "'/srv/a b/100%%/postgres/shard01'" in text.content


def test_a_template_without_what_it_needs_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError):
        template("userlist.txt")


def test_networks_stand_for_hosts_whose_names_say_nothing_of_addresses(
    description: Description, credentials: Credentials
) -> None:
    network = Network(listen="0.0.0.0", clients=["10.20.0.0/24", "samenet"])  # noqa: S104
    changed = description.model_copy(update={"network": network})
    files = render(changed, credentials, Layout(ROOT))
    lines = files["conf/shard02/pg_hba.conf"].content.splitlines()
    hba = [line.split()[2:4] for line in lines if line.endswith("scram-sha-256")]
    users = ("fulcrum_owner", "fulcrum_app", "fulcrum_monitor")
    pairs = [[user, clients] for user in users for clients in network.clients]
    assert hba == [["postgres", "samehost"], *pairs]
    assert "listen_addresses = '0.0.0.0'" in files["conf/shard02/postgresql.conf"].content
    assert "listen_addr = 0.0.0.0" in files["conf/pooler/pgbouncer.ini"].content
    assert "\nbind 0.0.0.0\n" in files["conf/broker/redis.conf"].content
    assert 'bind = "0.0.0.0:8000"' in files["conf/gunicorn.conf.py"].content

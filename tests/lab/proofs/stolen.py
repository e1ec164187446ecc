"""What a stolen application password opens: its rows, by the pooler, and nothing else."""

import json
import re
from typing import Any

from infra.hosts.etcd import endpoints
from infra.patroni import rest_port
from tests.lab.cluster import Cluster
from tests.lab.proofs import Row, there

__all__ = ["stolen"]

SETTINGS = "/var/lib/fulcrum/site.json"
NOBODY = "nobody"
DENIED = r"permission denied|must be (owner|superuser)|Only roles with"
REFUSED = (
    r"rejects|no pg_hba.conf entry|valid client certificate|no route|prohibited|timeout|refused"
)
NOT_ALLOWED = r"no such database|not allowed|login failed|rejects|no matching entry"
STATEMENTS = {
    "CREATE TABLE stolen (id int)": DENIED,
    "CREATE TEMPORARY TABLE stolen (id int)": DENIED,
    "CREATE SCHEMA stolen": DENIED,
    "CREATE FUNCTION public.stolen() RETURNS int LANGUAGE sql AS 'SELECT 1'": DENIED,
    "CREATE EXTENSION pg_prewarm": DENIED,
    "CREATE ROLE stolen": DENIED,
    "ALTER ROLE {user} SUPERUSER": DENIED,
    "ALTER TABLE {table} ADD COLUMN stolen int": DENIED,
    "ALTER TABLE {table} DISABLE TRIGGER ALL": DENIED,
    "DROP TABLE {table}": DENIED,
    "TRUNCATE {table}": DENIED,
    "GRANT ALL ON {table} TO PUBLIC": r"no privileges were granted|permission denied",
    "SET ROLE fulcrum_owner": DENIED,
    "SET SESSION AUTHORIZATION postgres": DENIED,
    "COPY (SELECT 1) TO PROGRAM 'true'": DENIED,
    "COPY (SELECT 1) TO '/tmp/stolen'": DENIED,
    "SELECT pg_read_file('/etc/hostname')": DENIED,
    "SELECT lo_import('/etc/hostname')": DENIED,
    "SELECT rolpassword FROM pg_authid": DENIED,
    "SELECT subconninfo FROM pg_subscription": DENIED,
    "SELECT 1 FROM {other}.public.django_migrations": r"cross-database|does not exist",
}
"""Each is refused so; it runs in a transaction that is taken back, in case it is not."""

REDIS = (
    "CONFIG GET *",
    "ACL LIST",
    "ACL SETUSER stolen on nopass ~* +@all",
    "KEYS *",
    "DEBUG SLEEP 0",
    "MODULE LIST",
    "CLIENT LIST",
    "SAVE",
    "SHUTDOWN ABORT",
    "REPLICAOF NO ONE",
    "SWAPDB 0 1",
    "FLUSHDB",
    "FLUSHALL",
)

Try = tuple[str, dict[str, Any], str]
"""What it is called, what the thief does, what he must be told."""


def stolen(cluster: Cluster) -> list[Row]:
    """With what the site's own settings on the first app host say."""
    app = cluster.description.apps[0].host
    site = json.loads(cluster.host(app).ssh("cat", SETTINGS))
    rows = _at_the_pooler(cluster, site)
    rows += _past_the_pooler(cluster, site)
    rows += _steal(cluster, app, [*_elsewhere(cluster, site), *_redis(site)])
    return rows


def _steal(cluster: Cluster, host: str, tries: list[Try]) -> list[Row]:
    """As a user of that host with no rights of its own."""
    todo = {"tries": [one for _, one, _ in tries]}
    said = there(cluster.host(host), "thief", todo, user=NOBODY)
    for (name, _, wanted), answer in zip(tries, said, strict=True):
        said_so = re.search(wanted, answer, re.IGNORECASE)
        assert said_so, f"{name}, from {host}: {answer!r}, not {wanted!r}"
    return [(name, _short(answer)) for (name, _, _), answer in zip(tries, said, strict=True)]


def _short(answer: str) -> str:
    said = re.search(r"(?:FATAL|ERROR): +(.*)", answer)
    return (said[1] if said else answer)[:90]


def _sql(given: dict[str, Any], statement: str, **login: Any) -> dict[str, Any]:
    keys = {"host": given["host"], "port": given["port"], "dbname": given["name"]}
    words = {**keys, "user": given["user"], **login}
    return {"kind": "sql", "login": words, "password": given["password"], "statement": statement}


def _at_the_pooler(cluster: Cluster, site: dict[str, Any]) -> list[Row]:
    app, rows = cluster.description.apps[0].host, []
    for alias, given in site["databases"].items():
        if "replica_of" in given:
            continue
        look = "SELECT min(relname) FROM pg_class WHERE relkind = 'r' AND relname LIKE '%session%'"
        todo = {"tries": [_sql(given, look)]}
        [found] = there(cluster.host(app), "thief", todo, user=NOBODY)
        assert found.startswith("done "), f"the password opens nothing at all: {found}"
        other = next(name for name in ("catalog", "shard01") if name != given["name"])
        table = found.removeprefix("done ").strip()
        names = {"table": table, "user": given["user"], "other": other}
        tries: list[Try] = [(f"{alias}: a row of its own", _sql(given, "SELECT 1"), "^done 1")]
        for statement, wanted in STATEMENTS.items():
            text = statement.format(**names)
            guarded = f"BEGIN; {text}; ROLLBACK"
            tries.append((f"{alias}: {text}", _sql(given, guarded), wanted))
        rows += _steal(cluster, app, tries)
    return rows + _steal(cluster, app, _other_names(site))


def _other_names(site: dict[str, Any]) -> list[Try]:
    given = site["databases"]["default"]
    others = ["postgres", "template1", "pgbouncer"]
    tries = [
        (f"the pooler's {name}", _sql(given, "SHOW VERSION", dbname=name), NOT_ALLOWED)
        for name in others
    ]
    for name in ("fulcrum_owner", "postgres", "fulcrum_monitor", "pgbouncer"):
        other = _sql(given, "SELECT 1", user=name)
        tries.append((f"{name} at the pooler, with that password", other, r"FATAL|failed|rejects"))
    words = dict(word.split("=", 1) for word in site["pooler_consoles"][0].split())
    password = words.pop("password")
    for order in ("RELOAD", "PAUSE", "SHUTDOWN", "SET max_client_conn = 1"):
        login = {"kind": "sql", "login": words, "password": password, "statement": order}
        tries.append((f"the pooler's console: {order}", login, r"admin access needed|not allowed"))
    return tries


def _past_the_pooler(cluster: Cluster, site: dict[str, Any]) -> list[Row]:
    """From every kind of host straight to every PostgreSQL, and by HAProxy's own ports."""
    d, rows = cluster.description, []
    given = site["databases"]["default"]
    for host in d.hosts:
        if "psql" not in cluster.host(host).ssh("command -v psql || true"):
            continue
        tries: list[Try] = []
        for alias, node in d.servers.items():
            login = {"host": node.host, "port": node.port, "dbname": d.database(alias)}
            name = f"{host} to PostgreSQL of {alias}"
            tries.append((name, _sql(given, "SELECT 1", **login), REFUSED))
        if host in {pooler.host for pooler in d.poolers}:
            login = {"host": "catalog", "port": 20000, "dbname": "catalog"}
            name = f"{host} to HAProxy's own port"
            tries.append((name, _sql(given, "SELECT 1", **login), REFUSED))
        if d.databases_on(host):
            alias = d.databases_on(host)[0]
            local = {"host": "/var/run/postgresql", "port": d.servers[alias].port}
            login = {**local, "dbname": d.database(alias), "sslmode": "disable"}
            name = f"{host} to its own PostgreSQL's socket"
            tries.append((name, _sql(given, "SELECT 1", **login), REFUSED))
        rows += _steal(cluster, host, tries)
    return rows


def _elsewhere(cluster: Cluster, site: dict[str, Any]) -> list[Try]:
    """Patroni's orders, and etcd."""
    d = cluster.description
    closed = r"HTTP 40[13]|certificate required|no connection"
    tries: list[Try] = []
    for alias, node in d.servers.items():
        for method, path in (("PATCH", "config"), ("POST", "restart"), ("POST", "switchover")):
            url = f"https://{node.host}:{rest_port(node)}/{path}"
            one = {"kind": "http", "method": method, "url": url, "body": {}}
            tries.append((f"Patroni of {alias}: {method} /{path}", one, closed))
    for endpoint in endpoints(d):
        url = f"https://{endpoint}/v3/kv/range"
        one = {"kind": "http", "method": "POST", "url": url, "body": {"key": "AA=="}}
        tries.append((f"etcd at {endpoint}", one, r"certificate required|no connection"))
    for monitor in site.get("monitors", []):
        one = {"kind": "http", "method": "GET", "url": f"{monitor['url']}/api/v1/alerts"}
        tries.append((f"{monitor['url']} without a password", one, r"HTTP 401|no connection"))
    return tries


def _redis(site: dict[str, Any]) -> list[Try]:
    tries: list[Try] = []
    for purpose in ("cache", "broker"):
        known = {"kind": "redis", "url": site[purpose]}
        tries.append((f"{purpose}: PING", {**known, "command": ["PING"]}, "^done"))
        for line in REDIS:
            one = {**known, "command": line.split()}
            tries.append((f"{purpose}: {line}", one, "^-NOPERM|DEBUG command not allowed"))
    return tries

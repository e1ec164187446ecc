"""What the site reads: one JSON file for each role, and gunicorn's settings."""

__all__ = ["monitors", "site_files", "site_json"]

from typing import Any

from infra.credentials import Credentials
from infra.hosts.monitoring import SITE_USER, url
from infra.hosts.redis import redis_url
from infra.layout import Layout
from infra.rotation import Rotation
from infra.schema import Description, database_of
from infra.templating import File, template

ALWAYS_THE_SAME = Rotation()
"""A cluster on this machine keeps its passwords."""


def site_files(
    d: Description, credentials: Credentials, layout: Layout, engine: str
) -> dict[str, File]:
    """Those of a cluster on one machine or in containers, by their path below the root."""
    app = d.apps[0].model_copy(update={"workers": 1} if engine == "sqlite" else {})
    gunicorn = template(
        "gunicorn.conf.py", app=app, listen=d.listen(app.host), proxies=[], access_log=True
    )
    files = {"conf/gunicorn.conf.py": File(gunicorn)}
    for role in ["app", "owner", "admin"] if engine == "postgresql" else ["app"]:
        text = site_json(d, credentials, layout, role, engine=engine)
        files[layout.site_config(role).name] = File(text, 0o600)
    return files


def site_json(
    d: Description,
    credentials: Credentials,
    layout: Layout,
    role: str,
    engine: str = "postgresql",
    ca: str | None = None,
    rotation: Rotation = ALWAYS_THE_SAME,
) -> str:
    """What the site reads as `role`. With `ca`, the path of whom to trust, all goes over TLS.

    That is how it is on real hosts, where any node of a database may be its primary.
    """
    serves = role == "app" and engine == "postgresql"
    return template(
        "site.json",
        engine=engine,
        role=role,
        secret_key=credentials.secret_key,
        secret_key_fallbacks=rotation.keys_besides(),
        allowed_hosts=list(d.site.allowed_hosts),
        public_url=d.site.public_url,
        directory=str(layout.sqlite) if engine == "sqlite" else None,
        directory_state=str(layout.state),
        databases=databases(d, credentials, layout, engine, role, ca, rotation),
        references=None if role == "app" else references(d, credentials, ca, rotation),
        pooler_consoles=consoles(d, credentials, ca, rotation) if serves else [],
        monitors=monitors(d, credentials, ca) if serves and ca else [],
        probe_token=credentials.probe_token if serves else None,
        cache=_redis_url(d, credentials, "cache", engine, ca, rotation),
        broker=_redis_url(d, credentials, "broker", engine, ca, rotation),
    )


def databases(
    d: Description,
    credentials: Credentials,
    layout: Layout,
    engine: str,
    role: str,
    ca: str | None = None,
    rotation: Rotation = ALWAYS_THE_SAME,
) -> dict[str, dict[str, Any]]:
    """Alias → how the role `app` (by the pooler), `owner` or `admin` (directly) reaches it."""
    numbers = {shard.name: shard.number for shard in d.shards}
    made: dict[str, dict[str, Any]] = {}
    for alias in d.primaries if engine == "sqlite" else d.servers:
        if engine == "sqlite":
            made[alias] = {"name": str(layout.sqlite / f"{database_of(alias)}.sqlite3")}
        else:
            made[alias] = _login(d, credentials, alias, role, ca, rotation)
        if alias in numbers:
            made[alias]["number"] = numbers[alias]
        elif alias in d.replicas:
            made[alias]["replica_of"] = d.replicas[alias]
    return made


def _login(
    d: Description,
    credentials: Credentials,
    alias: str,
    role: str,
    ca: str | None,
    rotation: Rotation,
) -> dict[str, Any]:
    """Where `role` finds the database of a server, and how it logs in there."""
    if role == "app":
        # With TLS the poolers pass the client's proof on: the password is PostgreSQL's own there.
        password = credentials.app if ca else credentials.pooler_app
        user = {"user": rotation.user("app"), "password": password}
        options = {"options": {**tls(ca), "load_balance_hosts": "random"}} if ca else {}
        return {**_pooler_address(d), "name": d.pooled(alias), **user, **options}
    user = {"user": rotation.user("owner"), "password": credentials.owner}
    if role == "admin":
        user = {"user": "postgres", "password": credentials.superuser}
    if ca:
        address, wanted = _any_node(d, alias)
        options = {"options": {**tls(ca), "target_session_attrs": wanted}}
        return {**address, "name": d.database(alias), **user, **options}
    node = d.servers[alias]
    return {"host": node.host, "port": node.port, "name": d.database(alias), **user}


def tls(ca: str | None) -> dict[str, str]:
    """libpq's options for a server whose certificate has its name."""
    return {"sslmode": "verify-full", "sslrootcert": ca} if ca else {}


def references(
    d: Description,
    credentials: Credentials,
    ca: str | None = None,
    rotation: Rotation = ALWAYS_THE_SAME,
) -> dict[str, str | int]:
    """How a shard's subscription reaches the catalog: libpq's keywords."""
    node = d.primaries["default"]
    address: dict[str, Any] = {"host": node.host, "port": node.port}
    if ca:
        address, wanted = _any_node(d, "default")
        address |= {**tls(ca), "target_session_attrs": wanted}
    return {
        **address,
        "dbname": database_of("default"),
        "user": rotation.user("replication"),
        "password": credentials.replication,
    }


def consoles(
    d: Description,
    credentials: Credentials,
    ca: str | None = None,
    rotation: Rotation = ALWAYS_THE_SAME,
) -> list[str]:
    """How the monitoring login, which may only look, reaches each pooler: libpq's strings."""
    user = rotation.user("pooler_monitor")
    login = f"dbname=pgbouncer user={user} password={credentials.pooler_monitor}"
    words = " ".join([login, *(f"{key}={value}" for key, value in tls(ca).items())])
    return [f"host={pooler.host} port={pooler.port} {words}" for pooler in d.poolers]


def monitors(d: Description, credentials: Credentials, ca: str) -> list[dict[str, str]]:
    """How each Prometheus is asked, /api/v1/alerts for one: over TLS, by HTTP's basic login."""
    login = {"ca": ca, "user": SITE_USER, "password": credentials.probe_token}
    return [{"url": url(monitor.host), **login} for monitor in d.monitors]


def _pooler_address(d: Description) -> dict[str, str | int]:
    """Host and port; with several poolers, libpq's lists of both."""
    return _addresses([(pooler.host, pooler.port) for pooler in d.poolers])


def _any_node(d: Description, alias: str) -> tuple[dict[str, str | int], str]:
    """All nodes of the database behind `alias`, and which of them libpq shall take.

    Patroni says who is primary, so a role in the description is only who began as one.
    """
    nodes = [(node.host, node.port) for node in d.nodes[d.replicas.get(alias, alias)]]
    return _addresses(nodes), "prefer-standby" if alias in d.replicas else "read-write"


def _addresses(places: list[tuple[str, int]]) -> dict[str, str | int]:
    if len(places) == 1:
        return {"host": places[0][0], "port": places[0][1]}
    hosts, ports = zip(*places, strict=True)
    return {"host": ",".join(hosts), "port": ",".join(map(str, ports))}


def _redis_url(
    d: Description,
    credentials: Credentials,
    purpose: str,
    engine: str,
    ca: str | None,
    rotation: Rotation,
) -> str | None:
    if engine == "sqlite":
        return None
    if ca:
        return redis_url(d, credentials, purpose, rotation)
    cache = d.cache_for(purpose)
    return f"redis://:{getattr(credentials, purpose)}@{cache.host}:{cache.port}/0"

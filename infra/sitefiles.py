"""What the site reads: one JSON file for each role, and gunicorn's settings."""

__all__ = ["site_files"]

from infra.credentials import Credentials
from infra.layout import Layout
from infra.schema import Description, database_of
from infra.templating import File, template

REPLICATION = "fulcrum_replication"


def site_files(
    d: Description, credentials: Credentials, layout: Layout, engine: str
) -> dict[str, File]:
    app = d.apps[0].model_copy(update={"workers": 1} if engine == "sqlite" else {})
    gunicorn = template("gunicorn.conf.py", app=app, listen=d.listen(app.host))
    files = {"conf/gunicorn.conf.py": File(gunicorn)}
    for role in ["app", "owner", "admin"] if engine == "postgresql" else ["app"]:
        serves = role == "app" and engine == "postgresql"
        variables = {
            "engine": engine,
            "role": role,
            "secret_key": credentials.secret_key,
            "allowed_hosts": list(d.site.allowed_hosts),
            "public_url": d.site.public_url,
            "directory": str(layout.sqlite) if engine == "sqlite" else None,
            "directory_state": str(layout.state),
            "databases": databases(d, credentials, layout, engine, role),
            "references": None if role == "app" else references(d, credentials),
            "pooler_consoles": consoles(d, credentials) if serves else [],
            "probe_token": credentials.probe_token if serves else None,
            "cache": _redis_url(d, credentials, "cache", engine),
            "broker": _redis_url(d, credentials, "broker", engine),
        }
        name = layout.site_config(role).name
        files[name] = File(template("site.json", **variables), 0o600)
    return files


def databases(
    d: Description, credentials: Credentials, layout: Layout, engine: str, role: str
) -> dict[str, dict[str, str | int]]:
    """Alias → how the role `app` (by the pooler), `owner` or `admin` (directly) reaches it."""
    numbers = {shard.name: shard.number for shard in d.shards}
    made: dict[str, dict[str, str | int]] = {}
    for alias in d.primaries if engine == "sqlite" else d.servers:
        if engine == "sqlite":
            made[alias] = {"name": str(layout.sqlite / f"{database_of(alias)}.sqlite3")}
        else:
            made[alias] = _login(d, credentials, alias, role)
        if alias in numbers:
            made[alias]["number"] = numbers[alias]
        elif alias in d.replicas:
            made[alias]["replica_of"] = d.replicas[alias]
    return made


def _login(d: Description, credentials: Credentials, alias: str, role: str) -> dict[str, str | int]:
    """Where `role` finds the database of a server, and how it logs in there."""
    if role == "app":
        user = {"user": "fulcrum_app", "password": credentials.pooler_app}
        return {**_pooler_address(d), "name": d.pooled(alias), **user}
    node = d.servers[alias]
    user = {"user": "fulcrum_owner", "password": credentials.owner}
    if role == "admin":
        user = {"user": "postgres", "password": credentials.superuser}
    return {"host": node.host, "port": node.port, "name": d.database(alias), **user}


def references(d: Description, credentials: Credentials) -> dict[str, str | int]:
    """How a shard's subscription reaches the catalog: libpq's keywords."""
    node = d.primaries["default"]
    return {
        "host": node.host,
        "port": node.port,
        "dbname": database_of("default"),
        "user": REPLICATION,
        "password": credentials.replication,
    }


def consoles(d: Description, credentials: Credentials) -> list[str]:
    """How the monitoring login, which may only look, reaches each pooler: libpq's strings."""
    login = f"dbname=pgbouncer user=fulcrum_monitor password={credentials.pooler_monitor}"
    return [f"host={pooler.host} port={pooler.port} {login}" for pooler in d.poolers]


def _pooler_address(d: Description) -> dict[str, str | int]:
    """Host and port; with several poolers, libpq's lists of both."""
    if len(d.poolers) == 1:
        return {"host": d.poolers[0].host, "port": d.poolers[0].port}
    return {
        "host": ",".join(pooler.host for pooler in d.poolers),
        "port": ",".join(str(pooler.port) for pooler in d.poolers),
    }


def _redis_url(d: Description, credentials: Credentials, purpose: str, engine: str) -> str | None:
    if engine == "sqlite":
        return None
    cache = d.cache_for(purpose)
    return f"redis://:{getattr(credentials, purpose)}@{cache.host}:{cache.port}/0"

"""Turns a description into every file of a local cluster: pure functions, no timestamp, no I/O
but the templates themselves. The same templates serve compose and Ansible."""

__all__ = ["File", "render", "template"]

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from infra.credentials import Credentials
from infra.layout import CHECKOUT, Layout
from infra.programs import Binaries, programs
from infra.schema import Description, Node, Pooler, database_of

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class File:
    """A rendered file. Mode 0600 where it has a secret in it."""

    content: str
    mode: int = 0o644


@functools.cache
def _environment() -> jinja2.Environment:
    """Jinja as Ansible sets it up, except that an unknown name is an error."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - configuration files, not HTML
    )


def template(name: str, **variables: Any) -> str:
    """Render infra/templates/NAME.j2. The template's first lines say what it needs."""
    return _environment().get_template(f"{name}.j2").render(variables)


def render(
    description: Description,
    credentials: Credentials,
    layout: Layout,
    engine: str = "postgresql",
    binaries: Binaries | None = None,
) -> dict[str, File]:
    """Path relative to the root → file, sorted by path."""
    binaries = binaries or Binaries()
    files = _site_files(description, credentials, layout, engine)
    if engine == "postgresql":
        for alias, node in description.primaries.items():
            files |= _postgres_files(description, credentials, layout, alias, node)
        for pooler in description.poolers:
            files |= _pooler_files(description, credentials, layout, pooler, binaries)
        files |= _redis_files(description, credentials, layout)
    files["conf/supervisord.conf"] = File(_supervisord(description, layout, engine, binaries))
    return dict(sorted(files.items()))


def cidr(host: str) -> str:
    """An address as pg_hba.conf wants it: one IPv4 address, or a name as it is."""
    return f"{host}/32" if host.replace(".", "").isdigit() else host


def _addresses(d: Description, hosts: set[str]) -> list[str]:
    """What pg_hba.conf calls `hosts`: the description's ranges, or each host by itself."""
    return sorted(hosts and (d.network.clients or {cidr(host) for host in hosts}))


def _postgres_files(
    d: Description, credentials: Credentials, layout: Layout, alias: str, node: Node
) -> dict[str, File]:
    conf = layout.conf / alias
    everyone = _addresses(d, _hosts(d))
    settings = template(
        "postgresql.conf",
        cluster=d.cluster,
        alias=alias,
        postgres=d.postgres,
        listen=d.listen(node.host),
        port=node.port,
        socket_directory="",
        data_directory=layout.data(alias),
        hba_file=conf / "pg_hba.conf",
        ident_file=layout.data(alias) / "pg_ident.conf",
    )
    replicas = {n.host for n in d.nodes[alias] if n.role == "replica"}
    hba = template(
        "pg_hba.conf",
        database=database_of(alias),
        superuser_addresses=["samehost"],
        owner_addresses=everyone,
        app_addresses=_addresses(d, {pooler.host for pooler in d.poolers}),
        monitor_addresses=everyone,
        replication_addresses=_addresses(d, replicas),
    )
    verifiers = {f"fulcrum_{name}": credentials.verifier(name) for name in ROLES}
    roles = template("roles.sql", database=database_of(alias), verifiers=verifiers)
    return {
        f"conf/{alias}/postgresql.conf": File(settings),
        f"conf/{alias}/pg_hba.conf": File(hba),
        f"conf/{alias}/roles.sql": File(roles, 0o600),
    }


ROLES = ("app", "monitor", "owner")


def _hosts(d: Description) -> set[str]:
    """Every host of the cluster."""
    nodes = {node.host for group in d.nodes.values() for node in group}
    hosts = [p.host for p in d.poolers] + [a.host for a in d.apps] + [w.host for w in d.workers]
    return nodes | set(hosts)


def _pooler_files(
    d: Description,
    credentials: Credentials,
    layout: Layout,
    pooler: Pooler,
    binaries: Binaries,
) -> dict[str, File]:
    users = f"conf/{pooler.name}/userlist.txt"
    databases = [
        {
            "database": database_of(alias),
            "host": node.host,
            "port": node.port,
            "password": credentials.app,
        }
        for alias, node in d.primaries.items()
    ]
    settings = template(
        "pgbouncer.ini",
        pooler=pooler,
        databases=databases,
        auth_file=layout.root / users,
        listen=d.listen(pooler.host),
        socket_directory="",
        version=list(binaries.pgbouncer_version),
    )
    passwords = {
        "fulcrum_app": credentials.pooler_app,
        "fulcrum_monitor": credentials.pooler_monitor,
    }
    return {
        f"conf/{pooler.name}/pgbouncer.ini": File(settings, 0o600),
        users: File(template("userlist.txt", passwords=passwords), 0o600),
    }


def _redis_files(d: Description, credentials: Credentials, layout: Layout) -> dict[str, File]:
    return {
        f"conf/{cache.purpose}/redis.conf": File(
            template(
                "redis.conf",
                cache=cache,
                password=getattr(credentials, cache.purpose),
                directory=layout.redis(cache.purpose),
                listen=d.listen(cache.host),
            ),
            0o600,
        )
        for cache in d.caches
    }


def _site_files(
    d: Description, credentials: Credentials, layout: Layout, engine: str
) -> dict[str, File]:
    app = d.apps[0].model_copy(update={"workers": 1} if engine == "sqlite" else {})
    gunicorn = template("gunicorn.conf.py", app=app, listen=d.listen(app.host))
    files = {"conf/gunicorn.conf.py": File(gunicorn)}
    for role in ["app", "owner"] if engine == "postgresql" else ["app"]:
        variables = {
            "engine": engine,
            "role": role,
            "secret_key": credentials.secret_key,
            "allowed_hosts": list(d.site.allowed_hosts),
            "public_url": d.site.public_url,
            "directory": str(layout.sqlite) if engine == "sqlite" else None,
            "databases": databases(d, credentials, layout, engine, role),
            "cache": _redis_url(d, credentials, "cache", engine),
            "broker": _redis_url(d, credentials, "broker", engine),
        }
        name = layout.site_config(role).name
        files[name] = File(template("site.json", **variables), 0o600)
    return files


def databases(
    d: Description, credentials: Credentials, layout: Layout, engine: str, role: str
) -> dict[str, dict[str, str | int]]:
    """Alias → how the role `app` (by the pooler) or `owner` (directly) reaches its database."""
    numbers = {shard.name: shard.number for shard in d.shards}
    made: dict[str, dict[str, str | int]] = {}
    for alias, node in d.primaries.items():
        if engine == "sqlite":
            made[alias] = {"name": str(layout.sqlite / f"{database_of(alias)}.sqlite3")}
        elif role == "owner":
            made[alias] = {"host": node.host, "port": node.port, "password": credentials.owner}
        else:
            made[alias] = _pooler_address(d) | {"password": credentials.pooler_app}
        if engine == "postgresql":
            made[alias] |= {"name": database_of(alias), "user": f"fulcrum_{role}"}
        if alias in numbers:
            made[alias]["number"] = numbers[alias]
    return made


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


def _supervisord(d: Description, layout: Layout, engine: str, binaries: Binaries) -> str:
    return template(
        "supervisord.conf",
        socket=layout.socket,
        directory=CHECKOUT,
        pid_file=layout.run / "supervisord.pid",
        log_file=layout.log("supervisord"),
        programs=[program.as_ini() for program in programs(d, layout, engine, binaries)],
    )

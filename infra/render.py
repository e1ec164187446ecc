"""Turns a description into every file of a local cluster: pure functions, no timestamp, no I/O
but the templates themselves. The same templates serve compose and Ansible."""

__all__ = ["File", "render", "template"]

from infra.credentials import Credentials
from infra.layout import CHECKOUT, Layout
from infra.programs import Binaries, programs
from infra.rules import SYNC_WORKERS
from infra.schema import Description, Pooler
from infra.sitefiles import site_files
from infra.templating import File, template


def render(
    description: Description,
    credentials: Credentials,
    layout: Layout,
    engine: str = "postgresql",
    binaries: Binaries | None = None,
) -> dict[str, File]:
    """Path relative to the root → file, sorted by path."""
    binaries = binaries or Binaries()
    files = site_files(description, credentials, layout, engine)
    if engine == "postgresql":
        for alias in description.servers:
            files |= _postgres_files(description, credentials, layout, alias)
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
    d: Description, credentials: Credentials, layout: Layout, alias: str
) -> dict[str, File]:
    """A primary's files, or a replica's, which has its roles from its primary."""
    folder = f"conf/{alias}"
    files = {
        f"{folder}/postgresql.conf": File(_postgres_settings(d, layout, alias)),
        f"{folder}/pg_hba.conf": File(_hba(d, d.replicas.get(alias, alias))),
    }
    if alias in d.replicas:
        line = f"*:*:*:fulcrum_replication:{credentials.replication}\n"
        return files | {f"{folder}/pgpass": File(line, 0o600)}
    verifiers = {f"fulcrum_{name}": credentials.verifier(name) for name in ROLES}
    roles = template(
        "roles.sql",
        database=d.database(alias),
        publishes=alias == "default",
        verifiers=verifiers,
    )
    return files | {f"{folder}/roles.sql": File(roles, 0o600)}


def _postgres_settings(d: Description, layout: Layout, alias: str) -> str:
    """postgresql.conf."""
    conf, node = layout.conf / alias, d.servers[alias]
    primary = d.primaries.get(d.replicas.get(alias, ""))
    return template(
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
        sync_workers=SYNC_WORKERS,
        primary=primary and {"host": primary.host, "port": primary.port, "pgpass": conf / "pgpass"},
    )


def _hba(d: Description, alias: str) -> str:
    """pg_hba.conf of a primary, and of its replicas, any of which may be the next primary."""
    everyone = _addresses(d, _hosts(d))
    group = {node.host for node in d.nodes[alias]} if alias in d.replicas.values() else set()
    shards = {node.host for shard in d.shards for node in shard.nodes}
    return template(
        "pg_hba.conf",
        database=d.database(alias),
        superuser_addresses=["samehost"],
        owner_addresses=everyone,
        app_addresses=_addresses(d, {pooler.host for pooler in d.poolers}),
        monitor_addresses=everyone,
        replication_addresses=_addresses(d, group),
        subscriber_addresses=_addresses(d, shards) if alias == "default" else [],
    )


ROLES = ("app", "monitor", "owner", "replication")


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
    folder = f"conf/{pooler.name}"
    users, hba = f"{folder}/userlist.txt", f"{folder}/pooler_hba.conf"
    databases = [
        {
            "name": d.pooled(alias),
            "database": d.database(alias),
            "host": node.host,
            "port": node.port,
            "password": credentials.app,
        }
        for alias, node in d.servers.items()
    ]
    settings = template(
        "pgbouncer.ini",
        pooler=pooler,
        databases=databases,
        auth_file=layout.root / users,
        hba_file=layout.root / hba,
        listen=d.listen(pooler.host),
        socket_directory="",
        version=list(binaries.pgbouncer_version),
    )
    passwords = {
        "fulcrum_admin": credentials.pooler_admin,
        "fulcrum_app": credentials.pooler_app,
        "fulcrum_monitor": credentials.pooler_monitor,
    }
    return {
        f"{folder}/pgbouncer.ini": File(settings, 0o600),
        hba: File(template("pooler_hba.conf")),
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


def _supervisord(d: Description, layout: Layout, engine: str, binaries: Binaries) -> str:
    return template(
        "supervisord.conf",
        socket=layout.socket,
        directory=CHECKOUT,
        pid_file=layout.run / "supervisord.pid",
        log_file=layout.log("supervisord"),
        programs=[program.as_ini() for program in programs(d, layout, engine, binaries)],
    )

"""What a description must satisfy beyond the type of each key: names, ports, and the sums."""

__all__ = ["Finding", "violations"]

from collections.abc import Callable, Iterator

from infra.schema import Description, Pooler
from infra.yamlsource import Location

Finding = tuple[Location, str, str]
"""Where, what was seen, the cure."""

# Names of programs and logs, of Django's own alias, and words of pg_hba.conf.
PROGRAMS = ("pooler", "cache", "broker", "web", "worker", "beat", "supervisord")
DATABASES = ("default", "catalog", "postgres", "template0", "template1", "pgbouncer")
RESERVED = frozenset([*PROGRAMS, *DATABASES, "all", "replication", "public"])


def violations(description: Description) -> Iterator[Finding]:
    """Everything in `description` that cannot work."""
    for rule in RULES:
        yield from rule(description)


def _names(d: Description) -> Iterator[Finding]:
    seen: dict[str, int] = {}
    for i, shard in enumerate(d.shards):
        at = ("shards", i, "name")
        if shard.name in RESERVED:
            yield at, f"'{shard.name}' is a reserved name", "name the shard like 'shard05'"
        if shard.name in seen:
            cure = "give each shard a name of its own"
            yield at, f"two shards are called '{shard.name}'", cure
        seen[shard.name] = i


def _numbers(d: Description) -> Iterator[Finding]:
    seen: dict[int, str] = {}
    for i, shard in enumerate(d.shards):
        if shard.number in seen:
            yield (
                ("shards", i, "number"),
                f"number {shard.number} is {seen[shard.number]}'s already",
                "take an unused number from 0 to 511; never change a number that was in use",
            )
        seen.setdefault(shard.number, shard.name)


def _primaries(d: Description) -> Iterator[Finding]:
    groups: list[tuple[str, Location]] = [("the catalog", ("catalog", "nodes"))]
    groups += [(f"shard '{s.name}'", ("shards", i, "nodes")) for i, s in enumerate(d.shards)]
    nodes = [d.catalog.nodes, *(s.nodes for s in d.shards)]
    for (what, at), members in zip(groups, nodes, strict=True):
        count = sum(node.role == "primary" for node in members)
        if count != 1:
            cure = "give exactly one node `role: primary`, all others `role: replica`"
            yield at, f"{what} has {count or 'no'} primar{'y' if count == 0 else 'ies'}", cure


def _poolers(d: Description) -> Iterator[Finding]:
    seen: set[str] = set()
    for i, pooler in enumerate(d.poolers):
        if pooler.name in seen:
            at = ("poolers", i, "name")
            yield at, f"two poolers are called '{pooler.name}'", "give each a name of its own"
        seen.add(pooler.name)


def addresses(d: Description) -> Iterator[tuple[Location, str, str, int]]:
    """Every server's place in the file, its name for a person, its host and its port."""
    groups = [("default", ("catalog",), d.catalog.nodes)] + [
        (shard.name, ("shards", i), shard.nodes) for i, shard in enumerate(d.shards)
    ]
    for name, at, nodes in groups:
        for i, node in enumerate(nodes):
            yield (*at, "nodes", i, "port"), name, node.host, node.port
    for i, pooler in enumerate(d.poolers):
        yield ("poolers", i, "port"), pooler.name, pooler.host, pooler.port
    for i, cache in enumerate(d.caches):
        yield ("caches", i, "port"), cache.purpose, cache.host, cache.port
    for i, app in enumerate(d.apps):
        yield ("apps", i, "port"), "web", app.host, app.port


def _ports(d: Description) -> Iterator[Finding]:
    seen: dict[tuple[str, int], str] = {}
    for at, name, host, port in addresses(d):
        if (host, port) in seen:
            taken = f"{host}:{port} is taken by '{seen[host, port]}'"
            yield at, taken, f"give '{name}' a port of its own"
        seen.setdefault((host, port), name)


def _caches(d: Description) -> Iterator[Finding]:
    for purpose in ("cache", "broker"):
        count = sum(cache.purpose == purpose for cache in d.caches)
        if count != 1:
            yield (
                ("caches",),
                f"{count or 'no'} Redis has `purpose: {purpose}`",
                "have exactly one for each of cache and broker: an eviction must never lose a task",
            )


def per_database(pooler: Pooler) -> int:
    """The most connections that `pooler` opens to one database."""
    wanted = pooler.pool_size + pooler.reserve_pool
    return min(wanted, pooler.max_db_connections or wanted)


def _server_connections(d: Description) -> Iterator[Finding]:
    pools = sum(per_database(pooler) for pooler in d.poolers)
    pg = d.postgres
    total = pools + pg.direct_connections + pg.superuser_reserved_connections
    if total > pg.max_connections:
        yield (
            ("postgres", "max_connections"),
            f"{pools} from the poolers + {pg.direct_connections} direct + "
            f"{pg.superuser_reserved_connections} reserved = {total} connections to each "
            f"PostgreSQL, and max_connections is {pg.max_connections}",
            "lower pool_size or reserve_pool, or raise max_connections",
        )


def _client_connections(d: Description) -> Iterator[Finding]:
    aliases = len(d.shards) + 1
    clients = sum(app.workers * app.threads for app in d.apps)
    clients += sum(worker.concurrency for worker in d.workers)
    allowed = sum(pooler.max_client_conn for pooler in d.poolers)
    if clients * aliases > allowed:
        yield (
            ("poolers", 0, "max_client_conn"),
            f"{clients} threads x {aliases} databases = {clients * aliases} client connections, "
            f"and the poolers accept {allowed}",
            "raise max_client_conn, or lower the workers and threads of the applications",
        )


def _programs(d: Description) -> Iterator[Finding]:
    for name in ("web", "worker", "beat"):
        if name not in d.site.programs:
            cure = f"add `{name}:` and its command line"
            yield ("site", "programs"), f"the program '{name}' is missing", cure


RULES: tuple[Callable[[Description], Iterator[Finding]], ...] = (
    _names,
    _numbers,
    _primaries,
    _poolers,
    _ports,
    _caches,
    _server_connections,
    _client_connections,
    _programs,
)

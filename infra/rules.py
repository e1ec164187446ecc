"""What a description must satisfy beyond the type of each key: names, ports, and the sums."""

__all__ = ["Finding", "violations"]

from collections.abc import Callable, Iterator

from infra.schema import Description, Node, Pooler, aliases
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
        if shard.name in _replica_names(d):
            yield at, f"'{shard.name}' is the name of a replica", "name the shard like 'shard05'"


def _replica_names(d: Description) -> set[str]:
    """What replicas are called: their aliases, and their databases in the poolers."""
    return {*d.replicas, *(d.pooled(alias) for alias in d.replicas)}


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
    groups: list[tuple[str, Location, list[Node]]] = [("default", ("catalog",), d.catalog.nodes)]
    groups += [(shard.name, ("shards", i), shard.nodes) for i, shard in enumerate(d.shards)]
    for alias, at, nodes in groups:
        for i, (name, node) in enumerate(zip(aliases(alias, nodes), nodes, strict=True)):
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
    """The most connections that `pooler`, all its processes, opens to one database."""
    wanted = pooler.pool_size + pooler.reserve_pool
    return pooler.processes * min(wanted, pooler.max_db_connections or wanted)


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
            "lower pool_size, reserve_pool or processes, or raise max_connections",
        )


def _client_connections(d: Description) -> Iterator[Finding]:
    databases = len(d.shards) + 1 + len(d.replicas)
    clients = sum(app.workers * app.threads for app in d.apps)
    clients += sum(worker.concurrency for worker in d.workers)
    allowed = sum(pooler.max_client_conn * pooler.processes for pooler in d.poolers)
    if clients * databases > allowed:
        yield (
            ("poolers", 0, "max_client_conn"),
            f"{clients} threads x {databases} databases = {clients * databases} client "
            f"connections, and the poolers accept {allowed}",
            "raise max_client_conn, or lower the workers and threads of the applications",
        )


SYNC_WORKERS = 1
"""Tables that one subscription copies at a time; each takes a slot of its own meanwhile."""

MOVES = 4
"""Slots and senders that each shard has free for moves between shards."""

BACKUP_SENDERS = 2
"""A base backup, with which a replica is made, streams its files and its WAL."""


def slots(d: Description, alias: str) -> int:
    """The replication slots that the primary of `alias` needs, and as many senders at least.

    PostgreSQL counts a subscriber's origins by the same setting, apart from its slots.
    """
    replicas = sum(primary == alias for primary in d.replicas.values())
    subscription = 1 + SYNC_WORKERS
    if alias == "default":
        return replicas + len(d.shards) * subscription
    return MOVES + max(replicas, subscription)


def _replication(d: Description) -> Iterator[Finding]:
    for key, more in (("max_replication_slots", 0), ("max_wal_senders", BACKUP_SENDERS)):
        given = getattr(d.postgres, key)
        needed, alias = max((slots(d, alias) + more, alias) for alias in d.nodes)
        if needed > given:
            who = f"the catalog, with {len(d.shards)} shards," if alias == "default" else alias
            yield (
                ("postgres", key),
                f"{who} needs {needed} for replicas, subscriptions and backups, "
                f"and {key} is {given}",
                f"raise {key} to {needed} or more",
            )


def _programs(d: Description) -> Iterator[Finding]:
    for name in ("web", "worker", "beat"):
        if name not in d.site.programs:
            cure = f"add `{name}:` and its command line"
            yield ("site", "programs"), f"the program '{name}' is missing", cure


def _etcd(d: Description) -> Iterator[Finding]:
    count = len(d.etcd)
    if count and count % 2 == 0:
        yield (
            ("etcd",),
            f"{count} etcd members, an even number, survive no more failures than {count - 1}",
            f"have an odd number: {count - 1} or {count + 1}",
        )


def _host_addresses(d: Description) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    for host, address in d.addresses.items():
        if any(int(part) > 255 for part in address.split(".")):
            yield ("addresses", host), f"{address} is no address", "write an IPv4 address"
        if address in seen:
            taken = f"{address} is {seen[address]}'s already"
            yield ("addresses", host), taken, f"give {host} an address of its own"
        seen.setdefault(address, host)


RULES: tuple[Callable[[Description], Iterator[Finding]], ...] = (
    _names,
    _numbers,
    _primaries,
    _poolers,
    _ports,
    _caches,
    _server_connections,
    _client_connections,
    _replication,
    _programs,
    _etcd,
    _host_addresses,
)

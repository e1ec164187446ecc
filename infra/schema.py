"""The shape of a cluster description. infra/cluster.yml explains each key where it is used."""

__all__ = [
    "App",
    "Cache",
    "Catalog",
    "Description",
    "Member",
    "Network",
    "Node",
    "Pooler",
    "Postgres",
    "Shard",
    "Site",
    "Step",
    "Worker",
    "aliases",
    "database_of",
]

import itertools
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Host = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$")]
Port = Annotated[int, Field(ge=1024, le=65535)]
Positive = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
PostgresSize = Annotated[str, Field(pattern=r"^[1-9][0-9]*(kB|MB|GB)$")]
RedisSize = Annotated[str, Field(pattern=r"^[1-9][0-9]*(kb|mb|gb)$")]
AddressRange = Annotated[str, Field(pattern=r"^(samenet|[0-9a-fA-F.:]+/[0-9]{1,3})$")]
Address = Annotated[str, Field(pattern=r"^[0-9]{1,3}(\.[0-9]{1,3}){3}$")]
Identifier = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,30}$")]
Text = Annotated[str, Field(min_length=1)]


class Part(BaseModel):
    """Unknown keys are refused, and so is a value of another type: "5432" is not a port."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Network(Part):
    """Where servers listen, and from where PostgreSQL sees the cluster's hosts connect."""

    listen: Literal["host", "0.0.0.0"] = "host"  # noqa: S104 - a choice, not the default
    clients: list[AddressRange] = []


class Node(Part):
    """One PostgreSQL server."""

    role: Literal["primary", "replica"]
    host: Host
    port: Port


class Postgres(Part):
    """Settings that all PostgreSQL servers of the cluster share.

    `shared_buffers` of None: PostgreSQL's own default here, a share of the memory on a real host.
    """

    max_connections: Positive
    superuser_reserved_connections: Natural
    direct_connections: Natural
    max_wal_senders: Positive
    max_replication_slots: Positive
    max_slot_wal_keep_size: PostgresSize
    shared_buffers: PostgresSize | None
    fsync: bool


class Catalog(Part):
    """The database behind Django's alias `default`."""

    nodes: Annotated[list[Node], Field(min_length=1)]


class Shard(Part):
    """One shard: a database and a Django alias of the same name."""

    name: Identifier
    number: Annotated[int, Field(ge=0, le=511)]
    nodes: Annotated[list[Node], Field(min_length=1)]


class Pooler(Part):
    """One PgBouncer, of `processes` that share a port; timeouts are in seconds.

    Pool sizes and limits are each process's; pool sizes count connections to each database.
    """

    name: Identifier
    host: Host
    port: Port
    pool_size: Positive
    reserve_pool: Natural
    max_db_connections: Natural
    max_client_conn: Positive
    query_wait_timeout: Positive
    processes: Positive = 1


class Cache(Part):
    """One Redis."""

    purpose: Literal["cache", "broker"]
    host: Host
    port: Port
    maxmemory: RedisSize


class App(Part):
    """One host that runs the web application: `workers` processes of `threads` threads."""

    host: Host
    port: Port
    workers: Positive
    threads: Positive


class Worker(Part):
    """One host that runs background tasks, `concurrency` at a time."""

    host: Host
    concurrency: Positive


class Member(Part):
    """One host of etcd, of the balancers or of the monitors."""

    host: Host


class Step(Part):
    """A command to be run before the site starts."""

    title: Text
    run: Text
    as_: Annotated[Literal["admin", "owner", "app"], Field(alias="as")]
    once: bool = False


class Site(Part):
    """Where the site is, and how it is prepared, run and asked. Only these lines know it."""

    directory: Text
    public_url: Annotated[str, Field(pattern=r"^https?://[^\s/]+$")]
    allowed_hosts: Annotated[list[Host], Field(min_length=1)]
    login: Text
    status: Text
    prepare: list[Step]
    programs: dict[Literal["web", "worker", "beat"], Text]


class Description(Part):
    """A whole cluster. `infra.description.load` makes one from a file and checks the sums.

    What has a default at the end is of real hosts: `infra.inventory` fills it from Ansible's
    inventory. `addresses` has the IPv4 address of every host then, by the name used elsewhere.
    """

    cluster: Identifier
    network: Network = Network()
    postgres: Postgres
    catalog: Catalog
    shards: Annotated[list[Shard], Field(min_length=1)]
    poolers: Annotated[list[Pooler], Field(min_length=1)]
    caches: list[Cache]
    apps: Annotated[list[App], Field(min_length=1)]
    workers: Annotated[list[Worker], Field(min_length=1)]
    site: Site
    synchronous: bool = False
    etcd: list[Member] = []
    balancers: list[Member] = []
    monitors: list[Member] = []
    addresses: dict[Host, Address] = {}
    ssh_from: list[AddressRange] = ["0.0.0.0/0"]

    @property
    def hosts(self) -> list[str]:
        """Every host, sorted."""
        found = {node.host for group in self.nodes.values() for node in group}
        found |= {pooler.host for pooler in self.poolers} | {cache.host for cache in self.caches}
        found |= {app.host for app in self.apps} | {worker.host for worker in self.workers}
        members = [*self.etcd, *self.balancers, *self.monitors]
        return sorted(found | {member.host for member in members})

    def databases_on(self, host: str) -> list[str]:
        """The aliases of the PostgreSQL servers on `host`, replicas' among them, sorted."""
        return sorted(alias for alias, node in self.servers.items() if node.host == host)

    @property
    def nodes(self) -> dict[str, list[Node]]:
        """Alias → its PostgreSQL nodes, the catalog first, then the shards by name."""
        shards = {s.name: s.nodes for s in sorted(self.shards, key=lambda s: s.name)}
        return {"default": self.catalog.nodes, **shards}

    @property
    def primaries(self) -> dict[str, Node]:
        """Alias → its one primary."""
        return {
            alias: next(n for n in nodes if n.role == "primary")
            for alias, nodes in self.nodes.items()
        }

    @property
    def replicas(self) -> dict[str, str]:
        """A replica's alias → its primary's: shard01_replica, shard01_replica2, …"""
        return {
            replica: alias
            for alias, nodes in self.nodes.items()
            for replica, node in zip(aliases(alias, nodes), nodes, strict=True)
            if node.role == "replica"
        }

    @property
    def servers(self) -> dict[str, Node]:
        """Alias → every PostgreSQL: first the primaries, then the replicas."""
        nodes = {
            name: node
            for alias, group in self.nodes.items()
            for name, node in zip(aliases(alias, group), group, strict=True)
        }
        return self.primaries | {name: nodes[name] for name in self.replicas}

    def database(self, alias: str) -> str:
        """The PostgreSQL database behind the alias of a primary or of a replica."""
        return database_of(self.replicas.get(alias, alias))

    def pooled(self, alias: str) -> str:
        """What the poolers call it: a replica's has another name than its primary's database."""
        return self.database(alias) + alias.removeprefix(self.replicas.get(alias, alias))

    def listen(self, host: str) -> str:
        """The address on which a server of `host` listens."""
        return host if self.network.listen == "host" else self.network.listen

    def cache_for(self, purpose: str) -> Cache:
        """The Redis with that purpose."""
        return next(c for c in self.caches if c.purpose == purpose)


def aliases(alias: str, nodes: list[Node]) -> list[str]:
    """The alias of each of a database's nodes. A replica that is added last renames no other."""
    replicas = itertools.chain([""], itertools.count(2))
    return [
        alias if node.role == "primary" else f"{alias}_replica{next(replicas)}" for node in nodes
    ]


def database_of(alias: str) -> str:
    """The PostgreSQL database behind a primary's alias."""
    return "catalog" if alias == "default" else alias

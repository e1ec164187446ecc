"""The ports at which a pooler's own HAProxy serves each database to the PgBouncers beside it."""

__all__ = ["files", "local_port"]

from infra.hosts import Cluster, Facts, HostFile
from infra.schema import Description, aliases

FIRST = 20000
"""The catalog's. A shard's is the next but its number; below 32768, where Linux begins to take
ports for outgoing connections, and away from PostgreSQL's own on a host that does both."""

REPLICAS = 1000
"""The first replica's is so much higher than its primary's, the second's twice as much, …"""


def local_port(d: Description, alias: str) -> int:
    """Where HAProxy listens, on 127.0.0.1, for the primary or the replica `alias`.

    It stays when shards and replicas come and go: 20000 for `default`, 20002 for the shard of
    number 1, 21002 for its first replica.
    """
    primary = d.replicas.get(alias, alias)
    numbers = {shard.name: shard.number + 1 for shard in d.shards}
    replicas = [name for name in aliases(primary, d.nodes[primary]) if name != primary]
    nth = 0 if alias == primary else 1 + replicas.index(alias)
    return FIRST + numbers.get(primary, 0) + REPLICAS * nth


def files(cluster: Cluster, host: str, facts: Facts) -> list[HostFile]:
    """None: who uses the ports has the files."""
    return []

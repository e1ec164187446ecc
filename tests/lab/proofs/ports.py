"""From a host outside the cluster: ssh everywhere, the site at the balancers, and nothing else."""

from collections.abc import Iterator

from tests.lab.cluster import Cluster
from tests.lab.proofs import Row, outsider, there

__all__ = ["ports"]

SSH, SITE = 22, {80, 443}


def ports(cluster: Cluster) -> list[Row]:
    """Every TCP port by IPv4, those where anybody listens by IPv6 too; UDP by its sockets."""
    d = cluster.description
    told = {name: _listeners(cluster, name) for name in d.hosts}
    listening = {one["port"] for host in told.values() for one in host["tcp"]}
    links = {host["ipv6"] for host in told.values() if host["ipv6"]}
    with outsider() as host:
        scan = {"addresses": list(d.addresses.values()), "ports": "all"}
        open_to = there(host, "scan", scan, seconds=900)
        scan = {"addresses": [f"{link}%host0" for link in sorted(links)]}
        by_ipv6 = there(host, "scan", {**scan, "ports": sorted(listening | SITE | {SSH})})
    balancers = {member.host for member in d.balancers}
    for name, address in d.addresses.items():
        wanted = {SSH} | (SITE if name in balancers else set())
        assert set(open_to[address]) == wanted, f"{name} is open at {open_to[address]}"
    for address, found in by_ipv6.items():
        assert not set(found) - SITE - {SSH}, f"{address} is open at {found}"
    loud = {name: host["udp"] for name, host in told.items() if host["udp"]}
    assert not loud, f"somebody listens for UDP: {loud}"
    return list(_rows(cluster, open_to, by_ipv6, len(listening)))


def _listeners(cluster: Cluster, name: str) -> dict:
    address = cluster.description.addresses[name]
    return dict(there(cluster.host(name), "listeners", {"name": name, "address": address}))


def _rows(
    cluster: Cluster, open_to: dict[str, list[int]], by_ipv6: dict[str, list[int]], count: int
) -> Iterator[Row]:
    for name, address in cluster.description.addresses.items():
        yield f"65535 TCP ports of {name}", f"open: {', '.join(map(str, open_to[address]))}"
    found = sorted({port for ports in by_ipv6.values() for port in ports})
    yield f"IPv6: {count} ports of {len(by_ipv6)} hosts", f"open: {found or 'none'}"
    yield "UDP sockets beyond loopback", "none"

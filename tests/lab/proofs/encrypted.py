"""Every port that others reach speaks TLS with a certificate of the cluster's own authority."""

from tests.lab.cluster import Cluster
from tests.lab.proofs import Row, there

__all__ = ["encrypted"]

PLAIN = {
    22: "ssh",
    80: "HTTP, which only redirects to HTTPS",
    8000: "HTTP from the balancers and monitors alone: nginx ends TLS before it",
    8405: "figures of HAProxy for the monitors alone, with no secret in them",
}
"""Why a port may do without."""


def encrypted(cluster: Cluster) -> list[Row]:
    """Each port with the version and the certificate, or why it has none."""
    rows: list[Row] = []
    for name, address in cluster.description.addresses.items():
        told = there(cluster.host(name), "listeners", {"name": name, "address": address})
        for one in told["tcp"]:
            what = f"{name}:{one['port']} {one['program']}"
            why = PLAIN.get(one["port"])
            assert "certificate" in one or why, f"{what} speaks no TLS of ours: {one}"
            rows.append(
                (
                    what,
                    f"{one['version']}, {one['certificate']}"
                    if "certificate" in one
                    else f"plain: {why}",
                )
            )
    return list(dict.fromkeys(rows))

"""What is looked at before anything starts: this machine, its ports, its disk."""

__all__ = ["check_disk", "check_local", "check_ports", "listeners"]

import contextlib
import shutil
import socket

import psutil

from infra.description import Loaded
from infra.errors import ClusterError
from infra.layout import Layout
from infra.rules import addresses
from infra.schema import Description

MIN_FREE_BYTES = 1024**3
Listeners = dict[int, tuple[int | None, str]]
"""Port → pid and name of who listens there."""


def check_local(description: Description) -> None:
    """`up` runs PostgreSQL, one pooler, one app and one worker, here. Ansible does the rest."""
    d = description
    counts = {"poolers": d.poolers, "apps": d.apps, "workers": d.workers}
    several = [name for name, parts in counts.items() if len(parts) > 1]  # type: ignore[arg-type]
    if several:
        what = ", ".join(several)
        raise ClusterError(f"`up` runs one of each on this machine, not {what}: use Ansible.")
    beyond = {"etcd": d.etcd, "balancers": d.balancers, "monitors": d.monitors}
    unknown = [name for name, parts in beyond.items() if parts]
    unknown += ["synchronous"] if d.synchronous else []
    unknown += ["processes"] if d.poolers[0].processes > 1 else []
    if unknown:
        raise ClusterError(f"`up` has no {', '.join(unknown)} on this machine: use Ansible.")
    here = _own_addresses()
    elsewhere = {host for _, _, host, _ in addresses(d) if _address(host) not in here}
    if elsewhere:
        hosts = ", ".join(sorted(elsewhere))
        raise ClusterError(f"`up` runs on this machine, which is not {hosts}: use Ansible.")


def _own_addresses() -> set[str]:
    found = psutil.net_if_addrs().values()
    return {entry.address for entries in found for entry in entries} | {"127.0.0.1"}


def _address(host: str) -> str:
    try:
        return socket.gethostbyname(host)
    except OSError:
        return host


def listeners() -> Listeners:
    """Who listens on which TCP port. Root sees everybody's names, others their own."""
    found: Listeners = {}
    for connection in psutil.net_connections(kind="tcp"):
        if connection.status != psutil.CONN_LISTEN or not connection.laddr:
            continue
        name = ""
        if connection.pid:
            with contextlib.suppress(psutil.Error):
                name = psutil.Process(connection.pid).name()
        found[connection.laddr.port] = (connection.pid, name)
    return found


def check_ports(loaded: Loaded, wanted: set[str], known: Listeners) -> None:
    """The ports of the programs in `wanted`, none of which runs, must be free.

    `known` is what `listeners` said as root, for the names of other users' processes.
    """
    taken = []
    for location, name, host, port in addresses(loaded.description):
        if name in wanted and not _free(host, port):
            pid, process = listeners().get(port, (None, ""))
            if not pid:
                pid, process = known.get(port, (None, ""))
            holder = f"by {process} (pid {pid})" if pid else "by another user's process"
            place = loaded.place(location)
            taken.append(
                f"Port {port} for '{name}' is held {holder}: stop that, or change {place}."
            )
    if taken:
        raise ClusterError("\n".join(taken))


def _free(host: str, port: int) -> bool:
    """Whether a server could listen there (SO_REUSEADDR as servers set it)."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def check_disk(layout: Layout) -> None:
    """Refuse to start servers on a disk that is full, or will soon be."""
    free = shutil.disk_usage(layout.root).free
    if free < MIN_FREE_BYTES:
        raise ClusterError(
            f"{layout.root} has {free / 2**20:.0f} MiB free and {MIN_FREE_BYTES / 2**20:.0f} MiB "
            "are needed: make room there, or name another directory with --root."
        )

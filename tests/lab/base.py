"""The base system of every host: Debian's minimum with systemd and sshd, made once.

It lies outside the checkout and is never written again: each host is an overlay over it.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab.tools import run

__all__ = ["LAB", "STORE", "made_base"]

STORE = Path("/var/cache/fulcrum-lab")
LAB = int(os.environ.get("FULCRUM_LAB", "0"))
"""Several labs may stand side by side, each with a number of its own."""

SUITE = "trixie"
MIRROR = "http://deb.debian.org/debian"
PACKAGES = (
    "systemd",
    "systemd-sysv",
    "dbus",
    "openssh-server",
    "python3",
    "iproute2",
    "sudo",
    "ca-certificates",
)
TOOLS = {
    "debootstrap": "debootstrap",
    "systemd-nspawn": "systemd-container",
    "ip": "iproute2",
    "iptables": "iptables",
    "ssh": "openssh-client",
}


def made_base() -> Path:
    """The base system's folder, made if it is not there yet (about a minute)."""
    STORE.mkdir(mode=0o755, parents=True, exist_ok=True)
    base = STORE / SUITE
    with _alone():
        _install_tools()
        if not (base / ".made").exists():
            print(f"Making the base system in {base}: about a minute, once.", flush=True)
            shutil.rmtree(base, ignore_errors=True)
            include = f"--include={','.join(PACKAGES)}"
            run("debootstrap", "--variant=minbase", include, SUITE, str(base), MIRROR)
            _make_pristine(base)
            (base / ".made").touch()
    return base


def _make_pristine(base: Path) -> None:
    """What every host must have for itself, as a fresh installation would give it."""
    for key in (base / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    (base / "etc/machine-id").write_text("")
    for archive in (base / "var/cache/apt/archives").glob("*.deb"):
        archive.unlink()
    run("chroot", str(base), "systemctl", "enable", "systemd-networkd", "ssh")


@contextmanager
def _alone() -> Iterator[None]:
    with (STORE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _install_tools() -> None:
    missing = sorted(package for tool, package in TOOLS.items() if not shutil.which(tool))
    if not missing:
        return
    print(f"Installing {', '.join(missing)} …", flush=True)
    run("apt-get", "update", "-q")
    run("apt-get", "install", "-y", "-q", "--no-install-recommends", *missing)

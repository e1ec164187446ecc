"""Hosts: an overlay over the base system, booted with systemd by systemd-nspawn."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.lab.base import LAB, STORE, made_base
from tests.lab.network import BRIDGE, NETWORK, address_of, gateway
from tests.lab.tools import LabError, run, succeeds

__all__ = ["Host", "boot", "hosts_there", "remove"]

HOSTS = STORE / f"hosts{LAB}"
KEY = STORE / f"id_ed25519_{LAB}"
BOOT_SECONDS = 60
SSH_OPTIONS = (
    "StrictHostKeyChecking=no",
    "UserKnownHostsFile=/dev/null",
    "LogLevel=ERROR",
    "ConnectTimeout=5",
)
INTERFACE = """[Match]
Name=host0

[Network]
Address={address}/{length}
Gateway={gateway}
"""


@dataclass(frozen=True)
class Host:
    """One host, by its number from 1."""

    number: int

    @property
    def name(self) -> str:
        return f"host{self.number}"

    @property
    def address(self) -> str:
        return str(address_of(self.number))

    @property
    def folder(self) -> Path:
        return HOSTS / self.name

    @property
    def machine(self) -> str:
        """What systemd-nspawn calls it, and names its network link by."""
        return f"lab{LAB}-{self.number}"

    @property
    def root(self) -> Path:
        """Its file system, while the overlay is mounted."""
        return self.folder / "root"

    @property
    def cgroup(self) -> Path:
        """Its own place among cgroups. In a common one hosts disturb each other's units: whoever
        stops one removes the group in which another host starts its own of that name."""
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
        top = next((mount for _, mount, kind, *_ in mounts if kind == "cgroup2"), None)
        if top is None:
            raise LabError("This machine has no cgroup2 file system, which systemd needs.")
        return Path(top, f"fulcrum-{self.machine}")

    @property
    def pid(self) -> int | None:
        """The systemd-nspawn process that holds the host, if it runs."""
        with_name = f"--machine={self.machine}"
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = entry.read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            if words[0].endswith("systemd-nspawn") and with_name in words:
                return int(entry.parent.name)
        return None

    def ssh(self, *command: str, seconds: float = 60) -> str:
        """Run a command there as root. Raises LabError."""
        options = [word for option in SSH_OPTIONS for word in ("-o", option)]
        return run(
            "ssh", *options, "-i", str(KEY), f"root@{self.address}", *command, seconds=seconds
        )

    def start(self) -> None:
        """Boot it, if it does not run. Does not wait."""
        if self.pid is None:
            _mount(self)
            _prepare(self)
            _boot(self)

    def wait(self) -> None:
        """Until it takes commands by ssh and systemd has started everything."""
        _until(lambda: _answers(self.address), f"{self.name} has no sshd: see {self.folder}/log")
        settled = ("running", "degraded")
        _until(
            lambda: any(word in self._state() for word in settled),
            f"{self.name} is not up: `systemctl is-system-running` said {self._state()!r}",
        )

    def cut_power(self) -> None:
        """The host stops at once; its disk stays as it is."""
        if (pid := self.pid) is not None:
            for child in _children(pid):
                os.kill(child, signal.SIGKILL)
            os.kill(pid, signal.SIGKILL)
        _until(lambda: self.pid is None, f"{self.name} cannot be killed")
        # Connections that nobody ends now would keep the link for minutes; who deletes it is first.
        succeeds("ip", "link", "delete", f"vb-{self.machine}")
        _until(lambda: not _has_link(self), f"the network of {self.name} does not go")

    def _state(self) -> str:
        try:
            return self.ssh("systemctl is-system-running || true").strip()
        except LabError as error:
            return str(error)


def hosts_there() -> list[Host]:
    """Every host that was made, running or not."""
    found = HOSTS.glob("host*") if HOSTS.exists() else []
    return sorted(
        (Host(int(folder.name.removeprefix("host"))) for folder in found),
        key=lambda host: host.number,
    )


def boot(numbers: Iterable[int]) -> list[Host]:
    """Boot these hosts, making those that are new, and wait until each takes commands."""
    made_base()
    if not KEY.exists():
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "fulcrum lab", "-f", str(KEY))
    hosts = [Host(number) for number in numbers]
    for host in hosts:
        host.start()
    for host in hosts:
        host.wait()
    return hosts


def remove(host: Host) -> None:
    """Stop the host and delete its disk."""
    host.cut_power()
    _remove_cgroup(host)
    while os.path.ismount(host.root):
        run("umount", "-l", str(host.root))
    shutil.rmtree(host.folder)


def _mount(host: Host) -> None:
    for name in ("upper", "work", "root"):
        (host.folder / name).mkdir(parents=True, exist_ok=True)
    if not os.path.ismount(host.root):
        upper, work = host.folder / "upper", host.folder / "work"
        layers = f"lowerdir={made_base()},upperdir={upper},workdir={work}"
        run("mount", "-t", "overlay", "overlay", "-o", layers, str(host.root))


def _prepare(host: Host) -> None:
    """Its name, address and keys, and this machine's name servers and certificate authorities."""
    etc = host.root / "etc"
    (etc / "hostname").write_text(f"{host.name}\n")
    if host.name not in (etc / "hosts").read_text():  # else it has the cluster's names as well
        (etc / "hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {host.name}\n")
    interface = INTERFACE.format(address=host.address, length=NETWORK.prefixlen, gateway=gateway())
    (etc / "systemd/network/10-lab.network").write_text(interface)
    for name in ("resolv.conf", "ssl/certs/ca-certificates.crt"):
        (etc / name).unlink(missing_ok=True)
        shutil.copyfile(Path("/etc", name), etc / name)
    keys = host.root / "root/.ssh"
    keys.mkdir(mode=0o700, exist_ok=True)
    shutil.copyfile(KEY.with_suffix(".pub"), keys / "authorized_keys")
    if not list((etc / "ssh").glob("ssh_host_*")):
        run("chroot", str(host.root), "ssh-keygen", "-A")


def _remove_cgroup(host: Host) -> None:
    groups = [path for path in host.cgroup.rglob("*") if path.is_dir()]
    for group in sorted([host.cgroup, *groups], reverse=True):
        _until(partial(_is_gone, group), f"{group} still has processes")


def _is_gone(group: Path) -> bool:
    """Whether the group is there no longer; it can be removed when its last process has ended."""
    try:
        group.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _boot(host: Host) -> None:
    host.cgroup.mkdir(exist_ok=True)
    command = [
        *("sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', str(host.cgroup)),
        "systemd-nspawn",
        f"--directory={host.root}",
        "--boot",
        "--register=no",
        "--keep-unit",
        f"--network-bridge={BRIDGE}",
        "--resolv-conf=off",
        f"--machine={host.machine}",
    ]
    with (host.folder / "log").open("ab") as log:
        # Without that variable systemd 257 refuses to start on a machine with version 1 of cgroups.
        subprocess.Popen(
            command,
            env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _answers(address: str) -> bool:
    try:
        with socket.create_connection((address, 22), timeout=1) as line:
            return line.recv(3) == b"SSH"
    except OSError:
        return False


def _has_link(host: Host) -> bool:
    return succeeds("ip", "link", "show", f"vb-{host.machine}")


def _children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listed.read_text().split()] if listed.exists() else []


def _until(happened: Callable[[], bool], problem: str) -> None:
    deadline = time.monotonic() + BOOT_SECONDS
    while not happened():
        if time.monotonic() > deadline:
            raise LabError(problem)
        time.sleep(0.1)

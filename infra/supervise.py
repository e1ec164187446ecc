"""supervisord: starting it, asking it, and what is left over from one that was killed."""

__all__ = ["Process", "Supervisor", "strays"]

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import time
import xmlrpc.client
from dataclasses import dataclass
from typing import Any

import psutil
from supervisor.xmlrpc import SupervisorTransport

from infra.console import tail
from infra.errors import ClusterError
from infra.layout import CHECKOUT, Layout

MARK = "FULCRUM_SUPERVISED"
"""In the environment of supervisord and all its children; the value is the cluster's root."""

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def basic_environment(layout: Layout) -> dict[str, str]:
    """What every process gets: nothing of the caller's shell but who the user is."""
    keep = {k: os.environ[k] for k in ("USER", "LOGNAME") if k in os.environ}
    return keep | {"HOME": str(layout.root), "PATH": PATH, "LANG": "C.UTF-8"}


@dataclass(frozen=True)
class Process:
    """What supervisord knows of a program. `uptime` is in seconds."""

    name: str
    state: str
    pid: int
    uptime: int
    error: str

    @property
    def wanted(self) -> bool:
        """Whether it runs, or supervisord is trying to make it run."""
        return self.state in ("RUNNING", "STARTING", "BACKOFF")


class Supervisor:
    """The supervisord of one cluster."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.conf = layout.conf / "supervisord.conf"

    def call(self, method: str, *arguments: Any) -> Any:
        """One XML-RPC call. Raises OSError where nobody answers, Fault where it is refused."""
        transport = SupervisorTransport(None, None, f"unix://{self.layout.socket}")
        proxy = xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport)
        with contextlib.closing(transport):
            return getattr(proxy.supervisor, method)(*arguments)

    def running(self) -> bool:
        """Whether it answers."""
        try:
            return bool(self.call("getState")["statename"] == "RUNNING")
        except (OSError, http.client.HTTPException, xmlrpc.client.Error):
            return False

    def processes(self) -> dict[str, Process]:
        """Name → process; empty where supervisord does not run."""
        if not self.running():
            return {}
        return {
            info["name"]: Process(
                name=info["name"],
                state=info["statename"],
                pid=info["pid"],
                uptime=info["now"] - info["start"] if info["pid"] else 0,
                error=info["spawnerr"],
            )
            for info in self.call("getAllProcessInfo")
        }

    def ensure(self) -> None:
        """Start it with the rendered configuration, or make a running one read it again."""
        if self.running():
            self._update()
            return
        self.layout.socket.unlink(missing_ok=True)
        self._make_socket_directory()
        done = subprocess.run(  # noqa: S603 - our own interpreter
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(self.conf)],
            capture_output=True,
            text=True,
            check=False,
            cwd=CHECKOUT,
            env=basic_environment(self.layout) | {MARK: str(self.layout.root)},
        )
        if done.returncode:
            raise ClusterError(f"supervisord does not start: {done.stdout}{done.stderr}")
        self._wait_until_it_answers()

    def _make_socket_directory(self) -> None:
        """Ours alone, also where it is in /tmp."""
        directory = self.layout.socket.parent
        directory.mkdir(mode=0o700, exist_ok=True)
        if directory.stat().st_uid != os.getuid():
            raise ClusterError(f"{directory} belongs to another user; delete it.")

    def _wait_until_it_answers(self) -> None:
        log = self.layout.log("supervisord")
        deadline = time.monotonic() + 20
        while not self.running():
            if time.monotonic() > deadline:
                raise ClusterError(f"supervisord does not answer; see {log}:\n{tail(log)}")
            time.sleep(0.05)

    def _update(self) -> None:
        """Take changed, new and deleted programs over; the changed ones start in their turn."""
        [[added, changed, removed]] = self.call("reloadConfig")
        for name in [*changed, *removed]:
            self.stop([name])
            self.call("removeProcessGroup", name)
        for name in [*added, *changed]:
            self.call("addProcessGroup", name)

    def start(self, name: str) -> bool:
        """Start a program, without waiting. False where that is nothing new."""
        process = self.processes().get(name)
        if process and process.wanted:
            return False
        try:
            self.call("startProcess", name, False)
        except xmlrpc.client.Fault as fault:
            log = self.layout.log(name)
            raise ClusterError(f"{name} does not start: {fault.faultString}; see {log}") from None
        return True

    def stop(self, names: list[str]) -> None:
        """Stop programs together, and wait until they have."""
        for name in names:
            with contextlib.suppress(xmlrpc.client.Fault):
                self.call("stopProcess", name, False)
        while any(
            process.state not in ("STOPPED", "EXITED", "FATAL", "UNKNOWN")
            for name, process in self.processes().items()
            if name in names
        ):
            time.sleep(0.05)

    def signal(self, name: str, what: str) -> None:
        """Send a signal such as "HUP" to a program."""
        self.call("signalProcess", name, what)

    def shutdown(self) -> None:
        """End supervisord, and wait until it has."""
        pid = self.pid()
        self.call("shutdown")
        if pid:
            with contextlib.suppress(psutil.Error):
                psutil.Process(pid).wait(timeout=120)

    def pid(self) -> int:
        """supervisord's process id, 0 where it does not answer."""
        return int(self.call("getPID")) if self.running() else 0


def strays(layout: Layout) -> list[psutil.Process]:
    """Our processes that no answering supervisord looks after."""
    keeper = Supervisor(layout).pid()
    return [process for process in ours(layout) if not keeper or not _below(process, keeper)]


def ours(layout: Layout) -> list[psutil.Process]:
    """Every process of this cluster, found without supervisord's help."""
    return [process for process in psutil.process_iter() if _is_ours(process, layout)]


def _is_ours(process: psutil.Process, layout: Layout) -> bool:
    try:
        if process.uids().real != os.getuid() or process.status() == psutil.STATUS_ZOMBIE:
            return False
        command = process.cmdline()
        if "-D" in command and str(layout.root / "postgres") + "/" in " ".join(command):
            return True
        return process.environ().get(MARK) == str(layout.root)
    except (psutil.Error, OSError):
        return False


def _below(process: psutil.Process, ancestor: int) -> bool:
    with contextlib.suppress(psutil.Error):
        return ancestor in [process.pid, *(parent.pid for parent in process.parents())]
    return False


def stop_strays(layout: Layout) -> int:
    """Stop what a killed supervisord left: first whoever uses the servers. Returns how many."""
    found = strays(layout)
    servers = [p for p in found if _is_postgres(p)]
    _end([p for p in found if p not in servers], signal.SIGTERM)
    _end(servers, signal.SIGINT)
    return len(found)


def _is_postgres(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.name().startswith("postgres")
    return False


def _end(processes: list[psutil.Process], first: signal.Signals) -> None:
    """Ask with `first`; kill whoever is there half a minute later."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.send_signal(first)
    _, alive = psutil.wait_procs(processes, timeout=30)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=10)

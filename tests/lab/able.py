"""Whether this machine can boot hosts: many containers cannot."""

import os
import tempfile
from pathlib import Path

from tests.lab.base import LAB, STORE
from tests.lab.hosts import Host
from tests.lab.tools import LabError, run

__all__ = ["impediment"]


def impediment() -> str | None:
    """Why it cannot; None where it can."""
    if os.geteuid() != 0:
        return "it needs root"
    if not Path("/etc/debian_version").exists():
        return "it needs Debian's debootstrap and systemd-nspawn"
    try:
        _try_cgroup()
        _try_overlay()
    except (LabError, OSError) as error:
        return str(error)
    return None


def _try_cgroup() -> None:
    group = Host(0).cgroup.with_name(f"fulcrum-try-{LAB}")
    group.mkdir()
    group.rmdir()


def _try_overlay() -> None:
    STORE.mkdir(mode=0o755, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=STORE) as folder:
        lower, upper, work, root = (Path(folder, name) for name in ("lower", "upper", "work", "on"))
        for path in (lower, upper, work, root):
            path.mkdir()
        layers = f"lowerdir={lower},upperdir={upper},workdir={work}"
        run("mount", "-t", "overlay", "overlay", "-o", layers, str(root))
        run("umount", str(root))

"""Finds the servers' programs, and installs Debian's packages where they are missing."""

__all__ = ["find", "install_missing"]

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from infra.console import Console, run_logged
from infra.errors import ClusterError
from infra.layout import Layout
from infra.programs import Binaries

SCRIPT = Path(__file__).with_name("install-packages.sh")
SEARCH = ":".join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/usr/bin"])
POSTGRES_ROOT = Path("/usr/lib/postgresql")


def _postgres() -> str | None:
    """`postgres` of the highest version that Debian's packages brought, or the one in PATH."""
    found = [p for p in POSTGRES_ROOT.glob("*/bin/postgres") if p.parts[-3].isdigit()]
    found.sort(key=lambda p: int(p.parts[-3]))
    return str(found[-1]) if found else shutil.which("postgres", path=SEARCH)


def _locate() -> dict[str, str | None]:
    """Debian package → the path of the program that we need from it."""
    return {
        "postgresql": _postgres(),
        "pgbouncer": shutil.which("pgbouncer", path=SEARCH),
        "redis-server": shutil.which("redis-server", path=SEARCH),
    }


def find() -> Binaries | None:
    """The servers' programs, or None where one is missing."""
    paths = _locate()
    postgres, pgbouncer, redis = paths.values()
    if not (postgres and pgbouncer and redis):
        return None
    version = _pgbouncer_version(pgbouncer)
    return Binaries(Path(postgres), Path(pgbouncer), Path(redis), version)


def _pgbouncer_version(path: str) -> tuple[int, int]:
    done = subprocess.run(  # noqa: S603 - a server's own program
        [path, "--version"], capture_output=True, text=True, check=False
    )
    match = re.search(r"PgBouncer (\d+)\.(\d+)", done.stdout + done.stderr)
    return (int(match[1]), int(match[2])) if match else (1, 18)


def install_missing(console: Console, layout: Layout) -> Binaries:
    """Return the programs; install what is missing first. The log is <root>/install.log."""
    missing = [package for package, path in _locate().items() if not path]
    if missing:
        log = layout.root / "install.log"
        argv = [*_become_root(missing), "sh", str(SCRIPT), *missing]
        with console.step(f"install {', '.join(missing)} from Debian (log: {log})") as step:
            run_logged(step, argv, log)
    found = find()
    if not found:
        still = ", ".join(package for package, path in _locate().items() if not path)
        raise ClusterError(f"{still} installed, and its program is not in /usr/bin or /usr/sbin.")
    return found


def _become_root(missing: list[str]) -> list[str]:
    """What must stand before a command to run it as root."""
    packages = " ".join(missing)
    if not shutil.which("apt-get", path=SEARCH):
        raise ClusterError(
            f"Missing: {packages}, and there is no apt-get here. {_without(packages)}"
        )
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo", path=SEARCH)
    if sudo and not subprocess.run([sudo, "-n", "true"], capture_output=True).returncode:  # noqa: S603
        return [sudo, "-n"]
    if sudo and sys.stdin.isatty():
        subprocess.run([sudo, "-v"], check=False)  # noqa: S603 - asks for the password once
        return [sudo]
    raise ClusterError(
        f"Missing: {packages}, and this user may not install them. {_without(packages)}"
    )


def _without(packages: str) -> str:
    return (
        f"Have somebody run `apt-get install --no-install-recommends {packages}`, "
        "or look at the site without any server: `make up ENGINE=sqlite`."
    )

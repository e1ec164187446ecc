"""Root never runs a server: the whole process becomes an ordinary user instead."""

__all__ = ["become_ordinary"]

import contextlib
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

from infra.errors import ClusterError
from infra.layout import CHECKOUT, Layout

USER = "fulcrum"


def become_ordinary(layout: Layout, *, create: bool) -> None:
    """Make the root directory, if `create`, and drop root's rights for good, if we have them.

    The user is whoever owns the root directory, or the system user `fulcrum` where that is root.
    """
    if create:
        layout.root.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0 and layout.root.exists():
        entry = _owner(layout.root)
        _hand_over(layout, entry)
        _drop(entry, layout.root)
        _check_access(entry.pw_name)
    if create:
        _private(layout.root)


def _hand_over(layout: Layout, entry: pwd.struct_passwd) -> None:
    """Give the user what root made there, by this command or by one of the site's."""
    os.chown(layout.root, entry.pw_uid, entry.pw_gid)
    for top in layout.entries:
        found = [str(top), *(f"{d}/{name}" for d, ds, fs in os.walk(top) for name in ds + fs)]
        for path in found:
            with contextlib.suppress(FileNotFoundError):
                if os.lstat(path).st_uid == 0:
                    os.lchown(path, entry.pw_uid, entry.pw_gid)


def _private(root: Path) -> None:
    try:
        root.chmod(0o700)
    except PermissionError:
        cure = "run as its owner, or name another directory with --root"
        raise ClusterError(f"{root} belongs to another user; {cure}.") from None


def _owner(root: Path) -> pwd.struct_passwd:
    """The user to become."""
    uid = root.stat().st_uid
    if uid:
        try:
            return pwd.getpwuid(uid)
        except KeyError:
            cure = f"chown it to root, and {USER} will get it"
            raise ClusterError(f"{root} belongs to uid {uid}, who has no name; {cure}.") from None
    try:
        return pwd.getpwnam(USER)
    except KeyError:
        _make_user(root)
        return pwd.getpwnam(USER)


def _make_user(root: Path) -> None:
    useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin")
    if not useradd:
        raise ClusterError(f"No `useradd` here: make an ordinary user called {USER} by hand.")
    command = [useradd, "--system", "--user-group", "--no-create-home", "--home-dir", str(root)]
    command += ["--shell", "/usr/sbin/nologin", USER]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode not in (0, 9):  # 9: somebody made it in the meantime
        raise ClusterError(f"Cannot make the user {USER}: {done.stderr.strip()}")


def _drop(entry: pwd.struct_passwd, root: Path) -> None:
    os.initgroups(entry.pw_name, entry.pw_gid)
    os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
    os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
    os.environ.update(HOME=str(root), USER=entry.pw_name, LOGNAME=entry.pw_name)
    if not os.access(".", os.X_OK):
        os.chdir("/")


def _check_access(user: str) -> None:
    """The servers' user has to read the checkout and run this Python."""
    for path, mode in ((CHECKOUT / "infra/cli.py", os.R_OK), (Path(sys.executable), os.X_OK)):
        if not os.access(path, mode):
            raise ClusterError(
                f"The servers run as the user {user}, who cannot reach {path.resolve()}. "
                "Move the checkout out of a closed directory (/root is one), to /srv for example, "
                "or run `make up` as an ordinary user."
            )

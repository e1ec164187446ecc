#!/usr/bin/python3
"""Has a throw-away Redis read a file: redis-check KIND FILE, where KIND is conf or acl.

It listens on nothing but a socket in a folder of its own, and has its data there.
"""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

AS_USER = ("setpriv", "--reuid=redis", "--regid=redis", "--groups=ssl-cert", "--")
SECONDS = 10


def words(kind: str, file: Path, folder: Path) -> list[str]:
    """The throw-away's command line: what stands there counts more than the file."""
    acl = file if kind == "acl" else folder / "acl"
    given = {"port": "0", "tls-port": "0", "unixsocket": folder / "socket", "dir": folder}
    given |= {"appendonly": "no", "daemonize": "no", "aclfile": acl, "logfile": ""}
    options = [str(word) for key, value in given.items() for word in (f"--{key}", value)]
    return ["/usr/bin/redis-server", *([str(file)] if kind == "conf" else []), *options]


def refusal(kind: str, file: Path) -> str:
    """What Redis says against the file, or nothing."""
    user = pwd.getpwnam("redis")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        shutil.copy(file, folder / "checked")
        (folder / "acl").write_text("user default reset off\n")
        for path in (folder, *folder.iterdir()):
            os.chown(path, user.pw_uid, user.pw_gid)
        limit = ("timeout", "--signal=KILL", str(SECONDS))
        said = []
        with subprocess.Popen(  # noqa: S603 - our own arguments
            [*limit, *AS_USER, *words(kind, folder / "checked", folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as started:
            for line in started.stdout or ():
                if "eady to accept connections" in line:
                    started.terminate()
                    return ""
                said.append(line)
    return "".join(said)


def main() -> int:
    kind, file = sys.argv[1], Path(sys.argv[2])
    if said := refusal(kind, file):
        print(f"Redis does not take this {kind}:\n{said}", file=sys.stderr)
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/python3
"""Has a throw-away PgBouncer read a file of its configuration: pooler-check KIND FILE.

KIND is ini, auth_file or auth_hba_file. Whatever PgBouncer warns of is an error here, since it
starts without the lines of auth_file and auth_hba_file that it does not understand. The throw-away
listens on nothing but a socket in a folder of its own.
"""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

USER = "postgres"
AS_USER = ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--groups=ssl-cert", "--")
SECONDS = 10


def wrapper(kind: str, file: str, folder: str) -> str:
    """A whole configuration around the file, in which the last word is ours.

    An ini ends in its section [pgbouncer]: that header again would set everything back.
    """
    heads = {
        "ini": f"%include {file}\n",
        "auth_file": f"[pgbouncer]\nauth_type = scram-sha-256\nauth_file = {file}\n",
        "auth_hba_file": f"[pgbouncer]\nauth_type = hba\nauth_hba_file = {file}\n"
        "auth_file = /dev/null\n",
    }
    return f"{heads[kind]}listen_addr =\nunix_socket_dir = {folder}\npidfile =\n"


def complaints(kind: str, file: Path) -> Iterator[str]:
    """What PgBouncer says against the file."""
    user = pwd.getpwnam(USER)
    with tempfile.TemporaryDirectory() as folder:
        copy, config = Path(folder, "checked"), Path(folder, "pgbouncer.ini")
        shutil.copy(file, copy)
        config.write_text(wrapper(kind, str(copy), folder))
        for path in (Path(folder), copy, config):
            os.chown(path, user.pw_uid, user.pw_gid)
        yield from _said(config)


def _said(config: Path) -> Iterator[str]:
    limit = ("timeout", "--signal=QUIT", str(SECONDS))
    command = [*limit, *AS_USER, "/usr/sbin/pgbouncer", str(config)]
    up = False
    with subprocess.Popen(  # noqa: S603 - our own arguments
        command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as started:
        for line in started.stderr or ():
            if any(f" {word} " in line for word in ("WARNING", "ERROR", "FATAL")):
                yield line.strip()
            if "process up" in line:
                up = True
                started.send_signal(signal.SIGQUIT)
    if not up:
        yield f"it did not start within {SECONDS} s"


def main() -> int:
    kind, file = sys.argv[1], Path(sys.argv[2])
    found = list(complaints(kind, file))
    if found:
        print(f"PgBouncer does not take this {kind}:", *found, sep="\n", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

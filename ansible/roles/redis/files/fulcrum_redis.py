#!/usr/bin/python3
"""Gives a Redis of this host the settings and users of its files while it serves.

fulcrum-redis apply NAME HOST PORT, with the administrator's login and password as standard input, a
line each; by hand also in REDISCLI_USER and REDISCLI_AUTH. A setting that Redis fixes at its start
is named, and the server is restarted for it: it reads its file again.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

FOLDER = Path("/etc/redis")
CA = "/etc/fulcrum/tls/ca.crt"
FILES = ("tls-cert-file", "tls-key-file", "tls-ca-cert-file")
"""Set even where the path stays: that makes Redis read them again."""
UNITS = {"kb": 1024, "mb": 1024**2, "gb": 1024**3}


def settings(text: str) -> dict[str, str]:
    """Setting → value, of a redis.conf."""
    lines = (shlex.split(line) for line in text.splitlines() if line and line[0] != "#")
    return {key: " ".join(values) for key, *values in lines}


def plain(value: str) -> str:
    """A size as Redis says it when asked."""
    size = re.fullmatch(r"([0-9]+)(kb|mb|gb)", value)
    return str(int(size[1]) * UNITS[size[2]]) if size else value


class Server:
    def __init__(self, host: str, port: str, user: str, password: str) -> None:
        self.words = ["redis-cli", "--tls", "--cacert", CA, "--no-auth-warning", "--json"]
        self.words += ["-h", host, "-p", port, "--user", user, "-t", "5"]
        self.environment = {**os.environ, "REDISCLI_AUTH": password}

    def ask(self, *command: str) -> object:
        """What it answers. Raises RuntimeError with what it said against the command."""
        done = subprocess.run(  # noqa: S603 - our own arguments
            [*self.words, "-e", *command],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env=self.environment,
        )
        if done.returncode:
            said = (done.stdout + done.stderr).strip()
            raise RuntimeError(f"{' '.join(command[:3])}: {said}")
        return json.loads(done.stdout)


def apply(name: str, server: Server) -> list[str]:
    """Set what differs; returns the settings that only a restart changes."""
    server.ask("ACL", "LOAD")
    wanted = settings((FOLDER / f"redis-{name}.conf").read_text())
    now = server.ask("CONFIG", "GET", *wanted)
    assert isinstance(now, dict)  # noqa: S101 - RESP3, a map
    different = [key for key, value in wanted.items() if now.get(key) != plain(value)]
    left = []
    for key in different:
        try:
            server.ask("CONFIG", "SET", key, wanted[key])
        except RuntimeError:
            left.append(key)
    pairs = [word for key in FILES for word in (key, wanted[key])]
    server.ask("CONFIG", "SET", *pairs)
    return left


def main() -> int:
    _, _, name, host, port = sys.argv
    by_hand = os.environ.get("REDISCLI_USER", ""), os.environ.get("REDISCLI_AUTH", "")
    user, password = sys.stdin.read().split() or by_hand
    try:
        left = apply(name, Server(host, port, user, password))
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    if left:
        print(f"{name}: a restart for {', '.join(left)}")
        unit = ["systemctl", "restart", f"redis-server@{name}"]
        return subprocess.run(unit, timeout=600, check=False).returncode  # noqa: S603
    print(f"{name}: has its settings")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Looks for secrets on a host: where everybody can read, in the journal, in command lines."""

import gzip
import os
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SKIPPED = ("/proc", "/sys", "/dev", "/run/systemd", "/usr")
LARGEST = 50 * 2**20
PAUSE = 0.1


def main(arguments: dict[str, Any]) -> list[str]:
    """`secrets`: name → value; `where`: everybody, logs or commands → "NAME in PLACE", sorted."""
    values = {name: value.encode() for name, value in arguments["secrets"].items()}
    kinds = {"everybody": _everybody, "logs": _logs, "commands": _commands}
    found = set()
    for place, content in kinds[arguments["where"]]():
        found |= {f"{name} in {place}" for name, value in values.items() if value in content}
    return sorted(found)


def _everybody() -> Iterator[tuple[str, bytes]]:
    """Every file that this user, who is nobody, can read."""
    assert os.geteuid() != 0, "root can read everything"
    for folder, folders, names in os.walk("/"):
        folders[:] = [name for name in folders if os.path.join(folder, name) not in SKIPPED]
        for name in names:
            path = Path(folder, name)
            try:
                about = path.lstat()
                if stat.S_ISREG(about.st_mode) and about.st_size < LARGEST:
                    yield str(path), path.read_bytes()
            except OSError:
                continue


def _logs() -> Iterator[tuple[str, bytes]]:
    """The whole journal, with all fields of its entries, and every file of /var/log."""
    journal = ["journalctl", "--no-pager", "--output=export", "--all"]
    yield "the journal", subprocess.run(journal, capture_output=True, check=True).stdout
    for path in Path("/var/log").rglob("*"):
        if path.is_file() and "journal" not in path.parts:
            content = path.read_bytes()
            yield str(path), gzip.decompress(content) if path.suffix == ".gz" else content


def _commands() -> Iterator[tuple[str, bytes]]:
    """Every command line, many times a second, until the file /run/fulcrum-searched is there."""
    end, looks = Path("/run/fulcrum-searched"), 0
    while not end.exists() or not looks:
        for entry in os.scandir("/proc"):
            if entry.name.isdigit():
                try:
                    content = Path(entry.path, "cmdline").read_bytes()
                except OSError:
                    continue
                words = content.split(b"\0")
                yield f"a command line of {words[0].decode(errors='replace')}", content
        looks += 1
        time.sleep(PAUSE)

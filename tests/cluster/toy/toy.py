"""The smallest site: what the runner needs to know of any site, without Django."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

CONFIG = Path(os.environ["FULCRUM_CONFIG"])


def application(environ: dict[str, str], start_response: Callable[..., None]) -> Iterable[bytes]:
    """WSGI: 200, and the role that the configuration names."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [json.loads(CONFIG.read_text())["role"].encode()]


def prepare(word: str) -> None:
    """Append to a file beside the configuration, so that a test can count."""
    with (CONFIG.parent / "sqlite" / "prepared.txt").open("a") as file:
        file.write(f"{word} {len(os.environ['FULCRUM_DEMO_PASSWORD'])}\n")
    print(f"prepared {word}")
    if (CONFIG.parent / "sqlite" / f"fail-{word}").exists():
        sys.exit(f"{word} was told to fail")


def status() -> None:
    """What a site's status command prints."""
    numbers = {"accounts": 3, "slots": 4096, "rows": 12_345, "size_bytes": 2**20, "error": None}
    print(json.dumps([{"shard": "shard01", **numbers}]))


def work() -> None:
    """A worker with nothing to do."""
    while True:
        time.sleep(60)


if __name__ == "__main__":
    commands: dict[str, Callable[..., None]] = {"prepare": prepare, "status": status, "work": work}
    commands[sys.argv[1]](*sys.argv[2:])

"""A process of one side of the matrix: plays the cases whose names it is told, one a line.

Its first line is JSON, as `Side` wants it, and is answered "ready". Each answer is JSON: `outcome`
("right", "stale" or "error"), `seen`, questions with a stale answer, and `told`, all of it.
"""

import json
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

from tests.bench.matrix_cases import OVERLAPS, PLACES
from tests.bench.matrix_faults import FAULTS, die_after_commit, start_redis
from tests.bench.matrix_side import HOME, Side
from tests.bench.matrix_stage import Stage
from tests.bench.matrix_threads import watch_connections
from tests.bench.matrix_writes import WRITES
from tests.unit.site.caching.redis_server import RedisServer

__all__ = ["CASES"]

CASES = {**WRITES, **OVERLAPS, **PLACES, **FAULTS}


def main(kind: str, purpose: str = "play") -> None:
    warnings.simplefilter("ignore")  # a library says by a warning that Redis is away
    side = Side(kind, json.loads(sys.stdin.readline()))
    watch_connections()
    if purpose == "die":
        with side.on(HOME):
            die_after_commit(side)
        return
    with tempfile.TemporaryDirectory() as directory:
        stage = Stage(side)
        stage.server = RedisServer(side.given["redis"], Path(directory))
        start_redis(stage.server)
        try:
            _play_all(stage)
        finally:
            stage.server.kill()


def _play_all(stage: Stage) -> None:
    print("ready", flush=True)
    for line in sys.stdin:
        with stage.side.on(HOME):
            print(json.dumps(_played(stage, line.strip())), flush=True)


def _played(stage: Stage, name: str) -> dict[str, Any]:
    stage.reset()
    try:
        CASES[name](stage)
        stage.warm()  # all is in the cache again, and what is there is right
        stage.check()
    except Exception as error:
        stage.errors.append(f"{type(error).__name__}: {error}")
    if stage.wrong:
        told = [f"{question} {seen} instead of {right}" for question, seen, right in stage.wrong]
        seen = dict.fromkeys(question for question, _, _ in stage.wrong)
        return {"outcome": "stale", "seen": list(seen), "told": told + stage.errors}
    return {"outcome": "error" if stage.errors else "right", "seen": [], "told": stage.errors}


if __name__ == "__main__":
    main(*sys.argv[1:])

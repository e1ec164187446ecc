"""One side of a comparison: a process that answers how long a query took, in turn with others."""

import json
import select
import subprocess
from typing import Any

from tests.bench.cluster import config
from tests.variants import CHECKOUT

__all__ = ["Side", "shard_settings"]


class Side:
    """The process of `command`, which is told `first` as JSON and then asked line by line."""

    def __init__(
        self, command: list[str], first: dict[str, Any], environment: dict[str, str] | None = None
    ) -> None:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen(  # type: ignore[call-overload]
            command, cwd=CHECKOUT, text=True, env=environment, **pipes
        )
        self._say(json.dumps(first))

    def answer(self, line: str, seconds: float) -> str:
        """A line for a line. Raises as `hear` does."""
        self._say(line)
        return self.hear(seconds)

    def hear(self, seconds: float) -> str:
        """The next line. Raises OSError where none comes in time, or the process has ended."""
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        if not ready:
            raise TimeoutError(f"nothing within {seconds:.0f} s")
        answer: str = self.process.stdout.readline()
        if not answer:
            raise ConnectionError(f"ended with {self.process.wait()}")
        return answer

    def nanoseconds(self, query: str, times: int) -> float:
        self._say(f"{query} {times}")
        return float(self.process.stdout.readline())

    def _say(self, line: str) -> None:
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        self.process.stdin.close()
        self.process.wait(timeout=10)


def shard_settings(alias: str = "shard01") -> dict[str, Any]:
    """A shard through the pooler, as one of Django's DATABASES."""
    given = config()["databases"][alias]
    login = {key.upper(): given[key] for key in ("host", "port", "name", "user", "password")}
    return {
        **login,
        "ENGINE": "django.db.backends.postgresql",
        "CONN_MAX_AGE": None,
        "DISABLE_SERVER_SIDE_CURSORS": True,
    }

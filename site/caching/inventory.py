"""What stands on the Redis servers: who they are, and how much memory the cache's keys take."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from caching.conf import settings
from caching.servers import servers
from caching.wire import AWAY

__all__ = ["Memory", "ServerState", "memory", "server_states"]

SAMPLED = 2000  # keys of each server
AT_ONCE = 500


@dataclass(frozen=True)
class ServerState:
    """One server. `run`: as in keys. `most_bytes`: 0 for no limit. `policy`: when that is reached.

    Where it does not answer, `error` says why and the rest is empty.
    """

    name: str
    error: str = ""
    run: str = ""
    version: str = ""
    role: str = ""
    used_bytes: int = 0
    most_bytes: int = 0
    policy: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Memory:
    """Of the cache's keys: `bytes` and `keys`, estimated from `sampled` keys of Redis.

    `is_whole`: these were all there are, so it is no estimate.
    """

    bytes: int
    keys: int
    sampled: int
    is_whole: bool

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def server_states() -> list[ServerState]:
    """Every primary's, asked now, each for ANSWER_SECONDS at most a step."""
    try:
        return [_state(slot) for slot in servers().slots()]
    except AWAY as error:
        return [ServerState("?", _text(error))]


def memory() -> Memory:
    """A sample of each server's keys, in the order of SCAN, which is as good as random.

    Raises what is in caching.wire.AWAY.
    """
    parts = [_sample(slot) for slot in servers().slots()]
    return Memory(
        bytes=sum(part.bytes for part in parts),
        keys=sum(part.keys for part in parts),
        sampled=sum(part.sampled for part in parts),
        is_whole=all(part.is_whole for part in parts),
    )


def _state(slot: str) -> ServerState:
    name = "?"
    try:
        made = servers().connection(slot)
        name = getattr(made, "path", None) or f"{made.host}:{made.port}"
        with _open(made):
            said = _facts(_ask(made, [("INFO",)])[0])
    except AWAY as error:
        return ServerState(name, _text(error))
    return ServerState(
        name=name,
        run=said["run_id"][:12],
        version=said["redis_version"],
        role={"master": "primary", "slave": "replica"}.get(said["role"], said["role"]),
        used_bytes=int(said["used_memory"]),
        most_bytes=int(said["maxmemory"]),
        policy=said["maxmemory_policy"],
    )


def _sample(slot: str) -> Memory:
    ours = f"{settings().prefix}:".encode()
    seen, sizes, cursor = 0, [], b"0"
    made = servers().connection(slot)
    with _open(made):
        whole = int(_ask(made, [("DBSIZE",)])[0])
        while True:
            cursor, keys = _ask(made, [("SCAN", cursor, "COUNT", AT_ONCE)])[0]
            seen += len(keys)
            mine = [key for key in keys if key.startswith(ours)]
            answers = _ask(made, [("MEMORY", "USAGE", key) for key in mine])
            sizes += [int(size) for size in answers if size is not None]
            if cursor in (b"0", "0") or seen >= SAMPLED:
                break
    is_whole = cursor in (b"0", "0")
    factor = 1.0 if is_whole or not seen else max(1.0, whole / seen)
    return Memory(int(sum(sizes) * factor), int(len(sizes) * factor), seen, is_whole)


@contextmanager
def _open(connection: Any) -> Iterator[None]:
    connection.connect()
    try:
        yield
    finally:
        connection.disconnect()


def _ask(connection: Any, commands: list[tuple[Any, ...]]) -> list[Any]:
    """The answers, in one round trip."""
    connection.send_packed_command(connection.pack_commands(commands))
    return [connection.read_response() for _ in commands]


def _facts(said: Any) -> dict[str, str]:
    text = said.decode() if isinstance(said, bytes) else str(said)
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__

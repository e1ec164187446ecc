"""What all processes know of an answer, in Redis: its value, the lease on it, that it failed.

All of one answer is in one slot of a Redis Cluster. Everything here raises server.Away.
"""

import hashlib
import pickle
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from prepared.server import Away, ask

__all__ = ["Kept", "Lease", "failed", "read"]

STORE = """
if redis.call('get', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('set', KEYS[1], ARGV[2], 'px', ARGV[3])
redis.call('del', KEYS[2], KEYS[3])
return 1
"""
RENEW = """
if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('pexpire', KEYS[1], ARGV[2])
"""
FAIL = """
if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('set', KEYS[2], 1, 'px', ARGV[2])
return redis.call('pexpire', KEYS[1], ARGV[2])
"""


@dataclass(frozen=True)
class Kept:
    """A value, when it was made (Unix seconds), and what tells it from any other."""

    value: Any
    made_at: float
    digest: str

    @classmethod
    def now(cls, value: Any) -> "Kept":
        made_at = time.time()
        digest = hashlib.sha256(pickle.dumps((value, made_at))).hexdigest()[:20]
        return cls(value, made_at, digest)

    def is_younger(self, seconds: float) -> bool:
        """A clock that was set back makes a value old, not eternal."""
        return 0 <= time.time() - self.made_at < seconds


def read(name: str) -> Kept | None:
    """The answer of that name, if it is kept."""
    found = ask(lambda client: client.get(_key(name, "value")))
    return Kept(*pickle.loads(found)) if found else None  # noqa: S301 - our own Redis


def failed(name: str) -> bool:
    """Whether making it failed a moment ago."""
    return bool(ask(lambda client: client.exists(_key(name, "failed"))))


class Lease:
    """The right to make one answer, which one at a time has, and whoever knows its token."""

    def __init__(self, name: str, token: str) -> None:
        self.name, self.token = name, token

    @classmethod
    def take(cls, name: str, seconds: float) -> "Lease | None":
        """None where somebody else has it."""
        token = secrets.token_hex(8)
        ttl = _ms(seconds)
        taken = ask(lambda client: client.set(_key(name, "lease"), token, nx=True, px=ttl))
        return cls(name, token) if taken else None

    def renew(self, seconds: float) -> bool:
        """Whether it is still this one's; then it is for so long from now."""
        return self._run(RENEW, ("lease",), _ms(seconds))

    @contextmanager
    def renewed(self, seconds: float) -> Iterator[None]:
        """It does not end while the block runs; `seconds` after this process has stopped, it does.

        While Redis is away it cannot be renewed, and may be somebody else's afterwards.
        """
        done = threading.Event()

        def renew() -> None:
            while not done.wait(seconds / 3):
                try:
                    if not self.renew(seconds):
                        return
                except Away:
                    continue

        thread = threading.Thread(target=renew, name=f"lease-{self.name}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def store(self, kept: Kept, seconds: float) -> bool:
        """Keep the answer for so long, and end the lease. False: that is another's; not kept."""
        pickled = pickle.dumps((kept.value, kept.made_at, kept.digest))
        return self._run(STORE, ("value", "lease", "failed"), pickled, _ms(seconds))

    def fail(self, seconds: float) -> bool:
        """Nobody tries for so long."""
        return self._run(FAIL, ("lease", "failed"), _ms(seconds))

    def end(self) -> None:
        """Somebody else may have it."""
        self._run(RENEW, ("lease",), 0)

    def _run(self, script: str, parts: tuple[str, ...], *arguments: Any) -> bool:
        keys = [_key(self.name, part) for part in parts]
        given = (*keys, self.token, *arguments)
        return bool(ask(lambda client: client.eval(script, len(keys), *given)))


def _key(name: str, part: str) -> str:
    return f"prepared:{{{name}}}:{part}"


def _ms(seconds: float) -> int:
    return max(1, round(1000 * seconds))

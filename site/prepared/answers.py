"""`Prepared`: see the package's own words for the contract."""

import contextvars
import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from kombu.exceptions import OperationalError as BrokerAway

from prepared.alone import Alone
from prepared.server import Away
from prepared.shared import Kept, Lease, failed, read

__all__ = ["Answer", "Prepared", "State", "prepared"]

QUEUED_SECONDS = 30.0  # how long a task may wait for a worker
LEASE_SECONDS = 10.0  # how long after its last sign of life a task counts as dead
REST_SECONDS = 5.0  # after a failure
RETRY_AFTER_SECONDS = 1

logger = logging.getLogger(__name__)


class State(Enum):
    """How good an answer is: see the package."""

    FRESH = "fresh"
    STALE = "stale"
    PENDING = "pending"
    REFUSED = "refused"


@dataclass(frozen=True)
class Answer:
    """`value`, `made_at` (Unix seconds), `digest`: None and "" where there is no value."""

    state: State
    value: Any = None
    made_at: float | None = None
    digest: str = ""
    retry_after: int = RETRY_AFTER_SECONDS

    @property
    def is_there(self) -> bool:
        """Whether there is a value, fresh or not."""
        return self.made_at is not None


class Prepared:
    """Answers by key, all made by one function. `keep_seconds`: how long one may be shown."""

    _known: "dict[str, Prepared]" = {}

    def __init__(
        self,
        name: str,
        make: Callable[[str], Any],
        *,
        fresh_seconds: float,
        keep_seconds: float = 86_400.0,
    ) -> None:
        self.name, self.make = name, make
        self.fresh_seconds, self.keep_seconds = fresh_seconds, keep_seconds
        self._alone = Alone(self._value, fresh_seconds)
        self._known[name] = self

    def get(self, key: str = "") -> Answer:
        """The answer as it stands. Sees to it that a missing or old one is made."""
        try:
            kept = read(self._full(key))
            if kept is None or not kept.is_younger(self.fresh_seconds):
                kept = self._begin(key, kept)
            if kept is None:
                return Answer(State.REFUSED if failed(self._full(key)) else State.PENDING)
        except Away:
            return self._alone_answer(key)
        self._alone.remember(key, kept)
        return self._answer(kept)

    def peek(self, key: str = "") -> Answer | None:
        """The answer if there is one, however old. Nothing is begun."""
        try:
            kept = read(self._full(key))
        except Away:
            kept = self._alone.last(key)
        return self._answer(kept) if kept else None

    def refresh(self, key: str = "", *, token: str = "") -> bool:
        """Make it now, in this process: whether it was. Not where somebody else is at it.

        `token`: of the lease that was taken for this task. Never raises for what `make` raises.
        """
        name = self._full(key)
        try:
            lease = Lease(name, token) if token else Lease.take(name, LEASE_SECONDS)
            return lease is not None and self._make(key, lease)
        except Away as away:
            logger.warning("%s is not made: %s", name, away)
            return False

    def _begin(self, key: str, kept: Kept | None) -> Kept | None:
        """What is kept, once a task has been asked for by somebody."""
        name = self._full(key)
        lease = Lease.take(name, QUEUED_SECONDS)
        if lease is None:
            return kept
        newest = read(name)  # it may have been stored between our look and our lease
        if newest and newest.is_younger(self.fresh_seconds):
            lease.end()
            return newest
        self._send(key, lease)
        return read(name)  # made at once where tasks run in the process that asks

    def _send(self, key: str, lease: Lease) -> None:
        from prepared.jobs import prepare  # it imports this module

        arguments = {"name": self.name, "key": key, "token": lease.token}
        try:
            prepare.apply_async(kwargs=arguments, expires=QUEUED_SECONDS)
        except BrokerAway as error:
            logger.warning("The broker is away (%s): %s is made here.", error, lease.name)
            self._make(key, lease)

    def _make(self, key: str, lease: Lease) -> bool:
        if not lease.renew(LEASE_SECONDS):
            return False  # waited too long: it is somebody else's now
        with lease.renewed(LEASE_SECONDS):
            try:
                kept = Kept.now(self._value(key))
            except Exception:
                logger.exception("%s cannot be made.", lease.name)
                lease.fail(REST_SECONDS)
                return False
        return lease.store(kept, self.keep_seconds)

    def _value(self, key: str) -> Any:
        """As nobody in particular: without the account of whoever asked."""
        return contextvars.Context().run(self.make, key)

    def _alone_answer(self, key: str) -> Answer:
        kept, is_at_work = self._alone.get(key)
        if kept is None:
            return Answer(State.PENDING if is_at_work else State.REFUSED)
        return self._answer(kept)

    def _answer(self, kept: Kept) -> Answer:
        state = State.FRESH if kept.is_younger(self.fresh_seconds) else State.STALE
        return Answer(state, kept.value, kept.made_at, kept.digest)

    def _full(self, key: str) -> str:
        return f"{self.name}:{key}"


def prepared(name: str) -> Prepared:
    """The one of that name. Raises KeyError where no module that was imported declares it."""
    return Prepared._known[name]

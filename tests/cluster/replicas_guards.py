"""The guards of reads from replicas, each with how to switch it off in this process."""

from typing import Any

__all__ = ["WITHOUT"]


def token() -> None:
    """Nobody hears that a write has begun."""
    from routers.replicas import written

    written.begin = lambda name, token: None  # type: ignore[assignment]


def recording() -> None:
    """Nobody hears of a write at all."""
    from routers.replicas import written

    token()
    written.finish = lambda name, token, lsn: None  # type: ignore[assignment]


def own_writes() -> None:
    """A unit that has written reads on where it read before."""
    from routers.replicas import unit
    from routers.replicas.unit import Unit

    unit.CHOICE_SECONDS = 60.0  # or on a slow machine it asks again, and finds its own write
    Unit._wrote = property(lambda self: False, lambda self, value: None)  # type: ignore
    Unit.__init__ = _init_without_wrote  # type: ignore[method-assign]


def _init_without_wrote(self: Any, visitor: Any = dict) -> None:
    self._token, self.visitor, self._failed = "t", visitor, False
    self._choices, self._open, self.recorded = {}, {}, {}


def unknown() -> None:
    """What Redis does not have counts as no write."""
    from routers.replicas import written

    look = written.look

    def believing(names: list[str]) -> Any:
        seen = look(names)
        known = seen.state == "unknown"
        return written.Seen("known", "0" * 15 + "1", seen.at) if known else seen

    written.look = believing


def redis_away() -> None:
    """A Redis that is away counts as no write."""
    from routers.replicas import written

    look = written.look

    def believing(names: list[str]) -> Any:
        try:
            return look(names)
        except written.RedisAway:
            return written.Seen("known", "0" * 15 + "1", 0)

    written.look = believing


def cookie() -> None:
    """What a visitor brings is not looked at."""
    from routers.replicas import visitor

    visitor._brought = lambda request: {}  # type: ignore[assignment]


def message() -> None:
    """What the sender of a task has written is not looked at."""
    from routers import celery

    celery.positions_in = lambda given: {}  # type: ignore[attr-defined]


def own_sql() -> None:
    """A transaction is not asked whether it has written."""
    from routers import transactions

    transactions.heed_own_sql = lambda primary, account_id: None  # type: ignore[attr-defined]


def position() -> None:
    """Every replica counts as caught up."""
    from routers.replicas import positions

    positions.has_reached = lambda replica, lsn: True  # type: ignore[assignment]


def own_check() -> None:
    """A replica does not check itself before it answers."""
    from routers.replicas import reads

    reads._guarded = lambda replica: None  # type: ignore[assignment]


def second_try() -> None:
    """What fails on a replica fails."""
    from routers.replicas import reads

    reads._give_up = lambda alias, error: False  # type: ignore[assignment]


WITHOUT = {
    guard.__name__: guard
    for guard in (
        *(token, recording, own_writes, unknown, redis_away, cookie),
        *(message, own_sql),
        *(position, own_check, second_try),
    )
}

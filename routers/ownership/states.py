"""Words that PostgreSQL and Python share: states, codes and lock keys."""

from enum import StrEnum

__all__ = [
    "COMPILING",
    "LOCK_SPACE",
    "MOVED_ELSEWHERE",
    "MOVING",
    "NOT_HERE",
    "State",
    "account_key",
    "slot_key",
]

MOVING, MOVED_ELSEWHERE, NOT_HERE = "FU001", "FU002", "FU003"
LOCK_SPACE = 0x726F757400000000  # "rout" in the upper half, so as to stay clear of others' keys
COMPILING = 2  # of direct.LOCK_CLASS


class State(StrEnum):
    """What a shard says of an account; of a slot it never says INCOMING."""

    OWNER = "owner"
    CAPTURED = "captured"
    MOVED = "moved"
    INCOMING = "incoming"


def account_key(account_id: int) -> int:
    """The key of an account's advisory lock."""
    return account_id ^ LOCK_SPACE


def slot_key(slot: int) -> int:
    """The key of a slot's advisory lock."""
    return (-1 - slot) ^ LOCK_SPACE

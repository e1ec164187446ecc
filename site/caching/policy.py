"""What a reader does whose answer is not in the cache while somebody else computes it."""

from typing import NamedTuple

__all__ = ["COMPUTE", "Policy", "policy"]

WAIT_SECONDS = 2.0


class Policy(NamedTuple):
    """`wait`: seconds, 0 for a reader that computes at once. `stale`: seconds, 0 for never."""

    wait: float = 0.0
    stale: float = 0.0


COMPUTE = Policy()


def policy(on_miss: str = "compute", wait: float | None = None, stale: float = 0) -> Policy:
    """The arguments that `.cache()`, `cached()` and `cached_method()` have in common.

    "compute"   compute it as well.
    "wait"      wait for who computes it, `wait` seconds at most (2), then compute it.
    "stale"     take what was valid `stale` seconds ago at most; where there is none, wait. Not
                within a transaction, and never another account's.

    Raises ValueError for anything else.
    """
    if on_miss not in ("compute", "wait", "stale"):
        raise ValueError(f"on_miss is {on_miss!r}. Say 'compute', 'wait' or 'stale'.")
    if wait is not None and wait < 0:
        raise ValueError(f"wait is {wait}. Say how many seconds, or leave it out.")
    if on_miss == "stale" and stale <= 0:
        raise ValueError("on_miss='stale' needs a limit. Say stale=30 (seconds).")
    if on_miss != "stale" and stale:
        raise ValueError(f"stale={stale} has no meaning with on_miss={on_miss!r}. Leave it out.")
    if on_miss == "compute":
        return COMPUTE
    return Policy(WAIT_SECONDS if wait is None else wait, stale)

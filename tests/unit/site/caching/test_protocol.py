"""The protocol itself: no interleaving is stale, and every step of it is needed."""

import pytest

from tests.unit.site.caching.protocol_model import Bounds, Rules, Stale, explore

# Where each step is needed: the smallest world in which leaving it out is a stale read.
OVERLAPPING = Bounds(writers=2, readers=1, kills=1)
EMPTIED = Bounds(writers=1, readers=1, kills=1, flushes=1)
REPLACED = Bounds(writers=1, readers=1, kills=1, failovers=1)
UNREACHABLE = Bounds(writers=1, readers=1, kills=0, losses=1)
TWICE_UNREACHABLE = Bounds(writers=2, readers=1, kills=0, losses=2)
LOCAL = Bounds(writers=1, readers=1, kills=1, local=True)
WORLDS = {
    "writes_have_a_transaction": EMPTIED,
    "missing_token_is_quarantined": EMPTIED,
    "quarantine_before_snapshot": Bounds(writers=1, readers=1, kills=1, flushes=2),
    "keys_name_the_run": REPLACED,
    "unmarked_turns_off": UNREACHABLE,
    "unmarked_waits_for_leases": UNREACHABLE,
    "turning_on_changes_the_epoch": UNREACHABLE,
    "turning_on_waits_for_unmarked": TWICE_UNREACHABLE,
    "commit_waits_for_local_leases": LOCAL,
}


@pytest.mark.parametrize("step", Rules.names())
def test_without_any_single_step_a_read_is_stale(step: str) -> None:
    with pytest.raises(Stale):
        explore(Rules(**{step: False}), WORLDS.get(step, OVERLAPPING))


@pytest.mark.parametrize(
    "bounds",
    [
        OVERLAPPING,
        EMPTIED,
        REPLACED,
        UNREACHABLE,
        Bounds(writers=2, readers=1, kills=1, flushes=1),
        Bounds(writers=1, readers=2, kills=1, flushes=1),
        Bounds(writers=1, readers=1, kills=1, losses=1, flushes=1),
        Bounds(writers=2, readers=1, kills=0, losses=2),
        LOCAL,
        Bounds(writers=2, readers=1, kills=1, flushes=1, local=True),
        Bounds(writers=1, readers=1, kills=1, failovers=1, local=True),
        Bounds(writers=1, readers=1, kills=0, losses=1, flushes=1, local=True),
    ],
    ids=str,
)
def test_no_interleaving_is_stale(bounds: Bounds) -> None:
    assert explore(Rules(), bounds) > 100

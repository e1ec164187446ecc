"""Telling each shard what it owns by the map, at first or to mend: `manage.py shards tell`.

Nothing that has rows changes its owner here: that is a move. (The first write of a new account that
is under way while its slot is given up may be left behind; `manage.py shards check` would name it.)
"""

from django.db import connections, transaction

from routers.conf import settings
from routers.exceptions import RoutingError
from routers.inspection.reading import Reader, ask_each
from routers.inspection.status import accounts_of
from routers.ownership import changing
from routers.ownership.known import MOVE, Known, read_known
from routers.ownership.states import State
from routers.shard_map import SLOTS, ShardMap

__all__ = ["tell", "tell_new"]

SECONDS = 600.0
Answer = tuple[Known, set[int]]  # what a shard knows, and the accounts that have rows there


def tell(snapshot: ShardMap, seconds: float = SECONDS, *, only_new: bool = False) -> list[str]:
    """Tell every shard what the map says; returns what could not be told, and why.

    First each gives up what another has by the map, then each takes its own: never are there two
    owners. Killed in between, it is run again. Raises RoutingError where a shard is away: what it
    owns is not known, and nothing was changed.
    """
    answers = _ask(seconds)
    holders = dict(enumerate(snapshot.slots))
    kept = {slot: shard for shard, answer in answers.items() for slot in _kept(shard, answer)}
    if only_new:
        kept = {slot: shard for shard, answer in answers.items() for slot in _owned(answer[0])}
    stuck = {slot: shard for slot, shard in kept.items() if holders[slot] != shard}
    holders |= stuck
    pins = dict(snapshot.pins)
    for shard, (known, rows) in answers.items():
        owned = {account for account in rows if known.home(shard, account) == shard}
        pins = {
            account: home for account, home in pins.items() if home == shard or account not in owned
        }
    for taking in (False, True):
        for shard, (known, _) in answers.items():
            if only_new and known.slots:
                continue
            _tell_one(shard, known, holders, pins, taking=taking)
    told = [f"slot {slot} stays with {shard}: it has rows. {MOVE}" for slot, shard in stuck.items()]
    unmoved = sorted(snapshot.pins.keys() - pins.keys())
    return told + [f"account {account} stays where its rows are. {MOVE}" for account in unmoved]


def tell_new(snapshot: ShardMap) -> list[str]:
    """Tell the shards that were never told; those that were stay as they are. As `tell`."""
    shards = sorted(settings().shards)
    answers = ask_each(shards, read_known)
    if any(isinstance(answer, Known) and not answer.slots for answer in answers.values()):
        return tell(snapshot, only_new=True)
    return []


def _ask(seconds: float) -> dict[str, Answer]:
    """Every PostgreSQL shard's."""
    answers = ask_each(sorted(settings().shards), _look, seconds)
    away = {shard: answer for shard, answer in answers.items() if isinstance(answer, str)}
    if away:
        told = "; ".join(f"{shard}: {error}" for shard, error in away.items())
        raise RoutingError(f"Nothing was told, not every shard answers: {told}. Run again.")
    return {shard: answer for shard, answer in answers.items() if isinstance(answer, tuple)}


def _look(opened: Reader) -> Answer | None:
    known = read_known(opened)
    return None if known is None else (known, set().union(*accounts_of(opened).values()))


def _owned(known: Known) -> set[int]:
    """The slots of a shard that was told."""
    return {slot for slot, moved_to in known.slots.items() if moved_to is None}


def _kept(shard: str, answer: Answer) -> set[int]:
    """The slots of a shard that was told, with rows of accounts that it owns."""
    known, rows = answer
    return {
        account % SLOTS
        for account in rows
        if account not in known.accounts and known.slots.get(account % SLOTS, "") is None
    }


def _tell_one(
    shard: str, known: Known, holders: dict[int, str], pins: dict[int, str], *, taking: bool
) -> None:
    """In one transaction, one of the two steps on one shard."""
    if not (taking or known.slots):
        return  # never told: it has nothing to give up
    slots = {
        slot: None if holder == shard else holder
        for slot, holder in holders.items()
        if (holder == shard) == taking or not known.slots
    }
    with transaction.atomic(using=shard), connections[shard].cursor() as cursor:
        for slot, holder in slots.items():
            if holder is not None and known.slots.get(slot, "") is None:
                changing.fence_slot(cursor, slot)
        changing.set_slots(cursor, slots)
        for account in sorted(pins.keys() - known.accounts.keys()):
            if pins[account] == shard and taking:
                changing.set_account(cursor, account, State.OWNER)
            elif pins[account] != shard and holders[account % SLOTS] == shard:
                changing.fence(cursor, account)
                changing.set_account(cursor, account, State.MOVED, pins[account])

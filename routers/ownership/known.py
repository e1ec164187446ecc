"""What a shard knows of its ownership, and where the map says otherwise. For `manage.py shards`."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from routers.inspection.reading import Reader
from routers.ownership.states import State
from routers.shard_map import SLOTS, ShardMap

__all__ = ["MOVE", "Known", "disagreements", "read_known"]

TELL = "Mend it by `manage.py shards tell`."
MOVE = "Rows have to go with it: `manage.py shards move`."


@dataclass(frozen=True)
class Known:
    """What one shard knows: slot → shard that has it (None: itself), account → (state, shard)."""

    slots: dict[int, str | None] = field(default_factory=dict)
    accounts: dict[int, tuple[State, str | None]] = field(default_factory=dict)

    def home(self, shard: str, account_id: int) -> str | None:
        """Where that shard says that the account is; None where it was never told."""
        if account_id in self.accounts:
            state, moved_to = self.accounts[account_id]
            return moved_to if state is State.MOVED else shard
        slot = account_id % SLOTS
        return (self.slots[slot] or shard) if slot in self.slots else None


def read_known(opened: Reader) -> Known | None:
    """None on SQLite, where ownership is not kept, and where the tables are not there yet."""
    if not opened.is_postgresql:
        return None
    if not opened.rows("SELECT to_regclass('routers_owner_slot')")[0][0]:
        return None
    slots = opened.rows("SELECT slot, moved_to FROM routers_owner_slot")
    accounts = opened.rows("SELECT account_id, state, moved_to FROM routers_owner_account")
    return Known(
        {int(str(slot)): _name(moved_to) for slot, moved_to in slots},
        {int(str(a)): (State(str(s)), _name(moved_to)) for a, s, moved_to in accounts},
    )


def disagreements(shard: str, known: Known, snapshot: ShardMap) -> Iterator[str]:
    """What the shard knows otherwise than the map, for a person."""
    if not known.slots:
        yield f"was never told what it owns, and refuses nothing. {TELL}"
        return
    wrong = [
        slot
        for slot, home in enumerate(snapshot.slots)
        if known.slots.get(slot, "") != (None if home == shard else home)
    ]
    if wrong:
        yield f"says otherwise than the map of {len(wrong)} slots: {_some(wrong)}. {TELL}"
    for account, (state, _) in sorted(known.accounts.items()):
        home = known.home(shard, account)
        if state in (State.CAPTURED, State.INCOMING):
            yield f"account {account} is {state}: a move is under way, or was left half done."
        elif home != snapshot.shard_of(account):
            yield f"account {account} is on {home}; the map says {snapshot.shard_of(account)}."
    for account, home in sorted(snapshot.pins.items()):
        here = known.home(shard, account) == shard
        if account not in known.accounts and here != (home == shard):
            yield f"account {account} is pinned to {home}, which it was not told. {TELL}"


def _some(slots: list[int]) -> str:
    told = ", ".join(map(str, slots[:5]))
    return f"{told}, …" if len(slots) > 5 else told


def _name(found: object) -> str | None:
    return str(found) if found is not None else None

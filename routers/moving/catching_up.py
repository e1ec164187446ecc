"""Carrying over what was changed since: keys that the source's triggers have noted, in rounds.

A round takes the noted keys that one snapshot of the source sees, and the rows of these keys from
the same snapshot: so the target, which stood at an earlier instant, then stands at this one. All
old rows go before the first new one comes, so no unique value meets its own past. The noted keys
are gone with the source's commit, which comes after the target's: a round can be done twice.
"""

from collections.abc import Mapping

from routers.moving.comparing import compare_keys
from routers.moving.copying import copy_keys, delete_keys
from routers.moving.errors import MoveRefused
from routers.moving.side import Side
from routers.moving.tables import MovedTable

__all__ = ["Tables", "carry_noted", "catch_up", "forget_noted"]

FEW, MOST_ROUNDS = 20, 50
Tables = Mapping[str, MovedTable]


def catch_up(source: Side, target: Side, tables: Tables) -> int:
    """Rounds until few keys are left, or no fewer than before; all keys that were carried over."""
    total, before = 0, None
    for _ in range(MOST_ROUNDS):
        with source.transaction(snapshot=True):
            number = carry_noted(source, target, tables)
        total += number
        if number <= FEW or (before is not None and number >= before):
            break
        before = number
    return total


def carry_noted(source: Side, target: Side, tables: Tables) -> int:
    """One round in the source's open transaction; how many keys. The target has committed then.

    Raises ContentDiffers where the target does not hold the same rows of these keys.
    """
    keys = _take_noted(source, tables)
    if not keys:
        return 0
    with target.transaction():
        for name, ids in keys.items():
            delete_keys(target, tables[name], ids)
        for name, ids in keys.items():
            copy_keys(source, target, tables[name], ids)
        compare_keys(source, target, tables, keys)
    return sum(map(len, keys.values()))


def forget_noted(source: Side) -> None:
    """Those that are left of an earlier move, or when all is done."""
    with source.transaction() as cursor:
        cursor.execute(
            "DELETE FROM routers_owner_captured WHERE account_id = %s", [source.account_id]
        )


def _take_noted(source: Side, tables: Tables) -> dict[str, set[int]]:
    """Table → ids."""
    keys: dict[str, set[int]] = {}
    for name, key in source.rows(
        "DELETE FROM routers_owner_captured WHERE account_id = %s RETURNING table_name, id",
        [source.account_id],
    ):
        keys.setdefault(name, set()).add(key)
    if unknown := keys.keys() - tables.keys():
        raise MoveRefused(
            f"{', '.join(sorted(unknown))} of account {source.account_id} was written on "
            f"{source.alias}, and no model of this code has it. Run the mover with the new code."
        )
    return keys

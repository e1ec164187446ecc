"""What can go wrong in routing. Every message names what was seen and the cure."""

from django.db import IntegrityError, OperationalError

__all__ = [
    "AccountElsewhere",
    "AccountMoved",
    "AccountMoving",
    "AccountNotHere",
    "AccountNotSet",
    "CrossAccount",
    "ForeignLink",
    "InvalidAccount",
    "NoShardMap",
    "NotDivisible",
    "RoutingError",
    "ShardUnavailable",
    "UnknownPlacement",
]


class RoutingError(Exception):
    """The base of all errors of this library."""


class AccountNotSet(RoutingError):
    """A query on a sharded model came without an account."""

    def __init__(self, model: str) -> None:
        super().__init__(
            f"{model} is sharded and no account is set for this query. Begin it inside `with "
            f"account_context(account_id):`; read over all shards by `fan_out(query)`; work on "
            f'every account of one shard inside `with all_accounts("shard01"):`.'
        )


class CrossAccount(RoutingError):
    """One account's work touched a row, a relation or a query of another account."""


class ForeignLink(CrossAccount, IntegrityError):
    """The database refused a reference to another account's row, or to none.

    Also an IntegrityError, as a broken reference is without this library.
    """


class InvalidAccount(RoutingError):
    """An account id that is not a positive 64-bit integer."""

    def __init__(self, seen: object) -> None:
        super().__init__(f"An account id is an integer from 1 to 2**63 - 1, not {seen!r}.")


class NoShardMap(RoutingError):
    """The catalog holds no shard map yet."""

    def __init__(self) -> None:
        super().__init__("The catalog holds no shard map. Make one with `manage.py shards init`.")


class UnknownPlacement(RoutingError):
    """A migration operation whose database cannot be told from its model or hints."""


class NotDivisible(RoutingError):
    """What was asked over all shards cannot be put together from each shard's answer."""


class ShardUnavailable(RoutingError):
    """A shard did not answer a read over several shards. `shard` is its alias."""

    def __init__(self, shard: str, why: str) -> None:
        self.shard = shard
        super().__init__(
            f"{shard} did not answer: {why}. `manage.py shards status` shows which servers are up. "
            f'To read on without those that are away: `fan_out(query, missing="skip")`.'
        )


class AccountElsewhere(RoutingError, OperationalError):
    """A shard refused the work of an account that it does not own, or is giving away just now.

    Nothing of the refused transaction was kept. `account_id`, and `shard`: the alias that refused.
    """

    def __init__(self, account_id: int | None, shard: str, message: str) -> None:
        self.account_id, self.shard = account_id, shard
        super().__init__(message)


class AccountMoving(AccountElsewhere):
    """The account is being moved at this instant, which takes some milliseconds: try again."""

    def __init__(self, account_id: int | None, shard: str, told: str) -> None:
        super().__init__(account_id, shard, f"{shard}: {told}.")


class AccountMoved(AccountElsewhere):
    """The account lives on another shard, `new_shard`; this process's map is older."""

    def __init__(self, account_id: int | None, shard: str, told: str, new_shard: str) -> None:
        self.new_shard = new_shard
        super().__init__(
            account_id,
            shard,
            f"{shard}: {told}. This process's map is older: refresh_map() reads the new one; "
            f"`manage.py shards check` shows whether it says so.",
        )


class AccountNotHere(AccountElsewhere):
    """The shard does not know the account as its own, nor where it went."""

    def __init__(self, account_id: int | None, shard: str, told: str) -> None:
        super().__init__(
            account_id,
            shard,
            f"{shard}: {told}. `manage.py shards check` compares the map with what each shard was "
            f"told; `manage.py shards tell` mends it.",
        )

"""What can go wrong in routing. Every message names what was seen and the cure."""

from django.db import IntegrityError

__all__ = [
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

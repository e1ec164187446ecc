"""Random use of the ORM by three accounts, and what must hold after every step.

Two accounts live on one shard, the third on another. An operation gets the account in force and a
few rows of any account, tries something, and returns what it saw; an error is a good answer too.
After it, whatever it saw must be the account's own, rows of the others must be as before, no row
may refer to another account's, and every row must be on its account's shard.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ObjectDoesNotExist
from django.db import IntegrityError, connections, models, transaction

from routers import RoutingError, account_context, shard_of
from tests.unit.routers.shop.models import Currency, Line, Order, Tag, Tagging

ACCOUNTS = (1, 4097 + 2 * 4096, 2)  # the first two are neighbours
MODELS = (Tag, Order, Line, Tagging)  # parents first
REFERENCES = {Order: [("parent_id", Order)], Line: [("order_id", Order)]} | {
    Tagging: [("order_id", Order), ("tag_id", Tag)]
}
Row = dict[str, Any]
Key = tuple[str, int]  # a key that the user chose may stand on two shards
Rows = dict[type[models.Model], dict[Key, Row]]


class Violation(AssertionError):
    """One account saw, changed or referred to a row of another."""


@dataclass
class Step:
    """What an operation works with: the account in force, rows of any account, a number."""

    account: int
    order: Any
    other: Any
    line: Any
    tag: Any
    number: int
    theirs: int  # another account
    their_orders: Any  # a query begun there
    planted: bool = False  # references across accounts were there before
    before: Rows = field(default_factory=dict)

    def mine(self, model: type[models.Model]) -> list[Row]:
        """The account's own rows, as they are without this library."""
        return [row for row in self.before[model].values() if row["account_id"] == self.account]


Operation = Callable[[Step], Iterable[Any]]
OPERATIONS: dict[str, Operation] = {}
READINGS: set[str] = set()


def reading(work: Operation) -> Operation:
    """Register an operation that changes nothing."""
    READINGS.add(work.__name__)
    return writing(work)


def writing(work: Operation) -> Operation:
    """Register an operation."""
    OPERATIONS[work.__name__] = work
    return work


def equal(seen: object, expected: object) -> None:
    """Fail where a figure is not the one of the account's own rows."""
    if seen != expected:
        raise Violation(f"{seen!r} is not {expected!r}")


def refused(what: str, answer: object) -> None:
    """Fail: what should have raised has answered."""
    raise Violation(f"{what} answered {answer!r}")


def truth() -> Rows:
    """Every row, read without Django's ORM. Raises Violation for one that is out of place."""
    rows: Rows = {model: {} for model in MODELS}
    for shard in sorted({shard_of(account) for account in ACCOUNTS}):
        for model in MODELS:
            for row in _rows(shard, model):
                if shard_of(row["account_id"]) != shard:
                    raise Violation(f"{row} of {model.__name__} is on {shard}")
                rows[model][shard, row["id"]] = row
    return rows


def _rows(shard: str, model: type[models.Model]) -> list[Row]:
    with connections[shard].cursor() as cursor:
        cursor.execute(f"SELECT * FROM {model._meta.db_table}")
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, values, strict=True)) for values in cursor.fetchall()]


def clear() -> None:
    """Delete every row, children first."""
    for shard in {shard_of(account) for account in ACCOUNTS}:
        with connections[shard].cursor() as cursor:
            cursor.execute("UPDATE shop_order SET parent_id = NULL")
            for model in reversed(MODELS):
                cursor.execute(f"DELETE FROM {model._meta.db_table}")


def populate() -> None:
    """A few rows of each account; their orders have the one currency, where there is one."""
    currency = Currency.objects.using("default").first()
    for account in ACCOUNTS:
        with account_context(account):
            for number in range(2):
                order = Order.objects.create(title=f"t{number}", currency=currency)
                Line.objects.create(order=order, amount=number)
                Tagging.objects.create(order=order, tag=Tag.objects.create(name=f"n{number}"))


def plant() -> None:
    """References between the two neighbours, which the database's guard would have refused."""
    mine, theirs, _ = ACCOUNTS
    with connections[shard_of(mine)].cursor() as cursor:
        for table, columns in (("line", ["order"]), ("tagging", ["order", "tag"])):
            for column in columns:
                for one, other in ((mine, theirs), (theirs, mine)):
                    cursor.execute(
                        f"UPDATE shop_{table} SET {column}_id = (SELECT max(id) FROM shop_{column}"
                        f" WHERE account_id = {other}) WHERE id = (SELECT min(id) FROM shop_{table}"
                        f" WHERE account_id = {one})"
                    )


def run(name: str, step: Step) -> bool:
    """Run one operation and judge it. Returns whether it answered rather than raised."""
    step.before = truth()
    answered, seen = True, []
    try:
        with account_context(step.account), transaction.atomic(using=shard_of(step.account)):
            seen = list(OPERATIONS[name](step))
    except (RoutingError, IntegrityError, ObjectDoesNotExist, ValueError):
        answered = False
    _judge(name, step, seen)
    return answered


def _judge(name: str, step: Step, seen: list[Any]) -> None:
    after = truth()
    for row in seen:
        if row.account_id != step.account:
            raise Violation(f"{name}: account {step.account} saw {row!r} of {row.account_id}")
    for model in MODELS:
        _judge_others(name, step, model, after)
        if not step.planted:
            _judge_references(name, model, after)


def _judge_others(name: str, step: Step, model: type[models.Model], after: Rows) -> None:
    for key in step.before[model].keys() | after[model].keys():
        old, new = step.before[model].get(key), after[model].get(key)
        if old != new and {(row or {}).get("account_id") for row in (old, new)} - {
            step.account,
            None,
        }:
            raise Violation(f"{name}: account {step.account} changed {old} to {new}")


def _judge_references(name: str, model: type[models.Model], after: Rows) -> None:
    for (shard, _), row in after[model].items():
        for column, parent in REFERENCES.get(model, []):
            target = after[parent].get((shard, row[column]))
            if row[column] and (not target or target["account_id"] != row["account_id"]):
                raise Violation(f"{name}: {model.__name__} {row} refers to {target}")

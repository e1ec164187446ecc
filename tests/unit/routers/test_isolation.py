"""No account ever sees, changes or refers to a row of another: ten thousand random operations.

And for each guard: with that one switched off, the same operations find the hole.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import pytest
from django.db import connections
from django.db.models.sql import Query
from django.db.models.sql.datastructures import Join
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from routers import guards, managers, query, triggers
from routers.context import account_context
from routers.placement import sharded_models
from routers.reference.carry import publish_references
from tests.unit.routers import isolation_operations  # noqa: F401 - registers the operations
from tests.unit.routers.isolation import (
    ACCOUNTS,
    OPERATIONS,
    READINGS,
    Step,
    Violation,
    clear,
    plant,
    populate,
    run,
    truth,
)
from tests.unit.routers.shop.models import Currency, Line, Order, Tag

pytestmark = [pytest.mark.django_db(databases="__all__"), pytest.mark.timeout(600)]

ON_POSTGRESQL = connections["shard01"].vendor == "postgresql"
EXAMPLES, STEPS = (60, 50) if ON_POSTGRESQL else (260, 50)
operations = st.tuples(
    st.sampled_from(sorted(OPERATIONS)),
    st.integers(0, len(ACCOUNTS) - 1),
    st.integers(1, len(ACCOUNTS) - 1),
    st.tuples(*[st.integers(0, 20)] * 4),
    st.integers(0, 3),
)
programs = st.lists(operations, min_size=STEPS, max_size=STEPS)


@pytest.fixture(autouse=True)
def _a_currency(request: pytest.FixtureRequest) -> None:
    """On every shard. (On PostgreSQL replication would have to carry it.)"""
    if not ON_POSTGRESQL:
        request.getfixturevalue("db")
        Currency.objects.create(code="EUR", name="Euro")
        publish_references()


def play(program: list[Any], planted: bool = False) -> Counter[str]:
    """Run a program on fresh rows. Returns how often each operation answered rather than raised."""
    clear()
    populate()
    if planted:
        plant()
    answered: Counter[str] = Counter()
    for name, account, other, keys, number in program:
        theirs = ACCOUNTS[(account + other) % len(ACCOUNTS)]
        with account_context(theirs):
            orders = Order.objects.all()
        step = Step(ACCOUNTS[account], *pick(keys), number, theirs, orders, planted)
        answered[name] += run(name, step)
    return answered


def pick(keys: tuple[int, ...]) -> Iterator[Any]:
    """Two orders, a line and a tag, of any account, each read inside its own."""
    rows = truth()
    for model, key in zip((Order, Order, Line, Tag), keys, strict=True):
        if not rows[model]:
            populate()
            rows = truth()
        row = sorted(rows[model].values(), key=lambda row: row["id"])[key % len(rows[model])]
        with account_context(row["account_id"]):
            yield model.objects.get(pk=row["id"])


def test_random_operations_stay_inside_their_account() -> None:
    answered: Counter[str] = Counter()
    tried: Counter[str] = Counter()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(programs)
    def property_holds(program: list[Any]) -> None:
        answered.update(play(program))
        tried.update(name for name, *_ in program)

    property_holds()
    assert tried.total() >= EXAMPLES * STEPS * 0.9
    never = sorted(name for name in OPERATIONS if not answered[name])
    always = sorted(name for name in OPERATIONS if answered[name] == tried[name])
    assert set(MUST_RAISE) <= set(never)
    assert set(MUST_ANSWER) <= set(always)
    if not ON_POSTGRESQL:  # where fewer steps may miss a rare answer, or a rare refusal
        assert never == MUST_RAISE, "an operation that never answers tests nothing"
        assert always == MUST_ANSWER, "an operation that is never refused tests nothing"


# These touch the account's own rows alone, whatever rows they are given.
MUST_ANSWER = [
    "a_pause",
    "begun_outside",
    "begun_outside_and_written",
    "count",
    "delete_some",
    "exclude_by_children",
    "join_downwards",
    "join_upwards",
    "prefetch",
    "read_all",
    "read_by_any_of_two",
    "read_in_part",
    "subqueries",
    "update",
    "windows",
]
# These have no right use inside an account.
MUST_RAISE = [
    "create_for_another_account",
    "extra_sql",
    "queries_of_two_accounts",
    "query_of_another_account",
    "raw_sql",
    "subquery_of_another_account",
    "update_account",
    "upsert_by_position",
    "way_back_from_a_reference",
    "write_by_a_query_of_another_account",
]


def nothing(*args: Any, **kwargs: Any) -> None:
    """A guard that is switched off."""


@contextmanager
def replaced(*names: str, owner: Any = None, by: Any = nothing) -> Iterator[None]:
    """Put something in the place of a guard: a method of `owner`, or a function of guards.py.

    A function is replaced in every module of the library that has imported it.
    """
    places = [
        (place, name)
        for name in names
        for place in ([owner] if owner else _importers(getattr(guards, name), name))
    ]
    with ExitStack() as stack:
        for place, name in places:
            stack.enter_context(mock.patch.object(place, name, by))
        yield


def _importers(function: Any, name: str) -> list[Any]:
    library = [module for key, module in sys.modules.items() if key.startswith("routers.")]
    return [module for module in library if getattr(module, name, None) is function]


@contextmanager
def without_triggers() -> Iterator[None]:
    """The database's own guard off: SQLite's triggers are dropped, and made again at the end."""
    shards = sorted(set(connections) - {"default"})
    for shard in shards:
        triggers.install(connections[shard], [])
    try:
        yield
    finally:
        clear()
        for shard in shards:
            triggers.install(connections[shard], sharded_models())


def bind_without_filter(self: Any, scope: Any) -> None:
    self.scope = scope


def as_it_is(queryset: Any) -> Any:
    return queryset


def run_anywhere(self: Any) -> str:
    return str(self._db or self._query.scope.alias())


GUARDS: dict[str, Callable[[], Any]] = {
    "every query is filtered": lambda: replaced(
        "bind", owner=query.AccountQuery, by=bind_without_filter
    ),
    "a stored row is the account's": lambda: replaced("own"),
    "objects relate within the account": lambda: replaced("refuse_cross_account"),
    "relations of another's object": lambda: replaced("refuse_foreign_instance"),
    "references by bare key (database)": without_triggers,
    "queries run where they were begun": lambda: replaced(
        "db", owner=managers.AccountQuerySet, by=property(run_anywhere)
    ),
    "queries of two scopes": lambda: replaced(
        "_refuse_other_scope", owner=managers.AccountQuerySet
    ),
    "SQL of another scope": lambda: replaced(
        "get_compiler", owner=query.AccountQuery, by=Query.get_compiler
    ),
    "subqueries of another scope": lambda: replaced(
        "as_sql", owner=query.AccountQuery, by=Query.as_sql
    ),
    "the way back from a reference": lambda: replaced(
        "join", owner=query.JoinedQuery, by=Query.join
    ),
    "queries begun outside": lambda: replaced(
        "_begun_here", owner=managers, by=lambda query: query
    ),
    "SQL of one's own": lambda: replaced("_refuse_own_sql", owner=managers.AccountQuerySet),
    "upserts by key": lambda: replaced("_refuse_foreign_conflicts", owner=managers.AccountQuerySet),
    "databases by name": lambda: replaced("refuse_elsewhere"),
}


def search(readings: bool = False) -> None:
    """Play random programs until one finds a Violation, without making it smaller."""

    @settings(
        max_examples=100,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(programs)
    def property_holds(program: list[Any]) -> None:
        if readings:
            program = [step for step in program if step[0] in READINGS]
        play(program, planted=readings)

    property_holds()


@pytest.mark.skipif(ON_POSTGRESQL, reason="Python's guards are the same; triggers need the owner")
@pytest.mark.parametrize("guard", GUARDS)
def test_with_one_guard_off_the_same_operations_find_the_hole(guard: str) -> None:
    with GUARDS[guard](), pytest.raises(Violation):
        search()


@pytest.mark.skipif(ON_POSTGRESQL, reason="planting needs the tables' owner")
def test_reads_never_follow_a_reference_across_accounts_that_is_there_already() -> None:
    with without_triggers():
        search(readings=True)


def trim_start(self: Any, names_with_path: Any) -> Any:
    self.tied = True
    return Query.trim_start(self, names_with_path)


JOIN_GUARDS = {"joins": ("join_class", Join), "excludes": ("trim_start", trim_start)}


@pytest.mark.skipif(ON_POSTGRESQL, reason="planting needs the tables' owner")
@pytest.mark.parametrize("guard", JOIN_GUARDS)
def test_without_its_guard_a_join_follows_it(guard: str) -> None:
    name, by = JOIN_GUARDS[guard]
    off = replaced(name, owner=query.AccountQuery, by=by)
    with without_triggers(), off, pytest.raises(Violation):
        search(readings=True)

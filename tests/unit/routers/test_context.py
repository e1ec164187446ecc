import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any

import pytest

from routers import (
    CrossAccount,
    InvalidAccount,
    RoutingError,
    account_atomic,
    account_context,
    all_accounts,
    current_account,
)
from routers.carrying import carry
from routers.context import current_scope


def test_no_account_by_default() -> None:
    assert current_account() is None


def test_contexts_nest_and_end() -> None:
    with account_context(1):
        with account_context(2):
            assert current_account() == 2
        assert current_account() == 1
    assert current_account() is None


def test_context_ends_with_an_exception() -> None:
    with pytest.raises(KeyError), account_context(1):
        raise KeyError
    assert current_account() is None


def test_decorator() -> None:
    assert account_context(5)(current_account)() == 5


@pytest.mark.parametrize("seen", [0, -1, 2**63, None, "1", True, 1.0])
def test_what_is_no_account_is_refused(seen: object) -> None:
    with pytest.raises(InvalidAccount, match="integer from 1"), account_context(seen):  # type: ignore[arg-type]
        pass


def test_asyncio_tasks_keep_their_own_accounts() -> None:
    async def work(account: int) -> int | None:
        with account_context(account):
            await asyncio.sleep(0)
            return current_account()

    async def main() -> list[int | None]:
        return await asyncio.gather(*(work(account) for account in range(1, 20)))

    assert asyncio.run(main()) == list(range(1, 20))


def test_thread_gets_the_account_with_a_copied_context_and_none_without() -> None:
    with account_context(3), ThreadPoolExecutor(1) as pool:
        assert pool.submit(copy_context().run, current_account).result() == 3
        assert pool.submit(current_account).result() is None


def test_all_accounts_of_an_unknown_shard_is_refused() -> None:
    said = r"'shard09' is no shard.*shard01, shard02"
    with pytest.raises(RoutingError, match=said), all_accounts("shard09"):
        pass


def test_all_accounts_is_no_account() -> None:
    with all_accounts("shard02"):
        scope = current_scope()
        assert scope is not None
        assert (scope.alias(), current_account()) == ("shard02", None)


def generator() -> Iterator[int | None]:
    with account_context(1):
        yield current_account()


def test_generator_that_sets_an_account_leaks_it_unless_carried() -> None:
    rows = generator()
    assert next(rows) == current_account() == 1
    with pytest.raises(RoutingError, match="wrap it in carry"), account_context(2):
        rows.close()
    contained = carry(generator())
    assert (next(contained), current_account()) == (1, None)
    contained.close()


def test_generator_function_is_not_decorated() -> None:
    with pytest.raises(TypeError, match="generator function"):
        account_context(1)(generator)


@pytest.mark.django_db(databases="__all__")
def test_another_account_is_not_set_inside_an_open_transaction() -> None:
    with account_context(1), account_atomic():
        with account_context(1):
            pass
        with pytest.raises(CrossAccount, match="a transaction of account 1 is open on shard02"):
            account_context(2).__enter__()
        with pytest.raises(CrossAccount), all_accounts("shard01"):
            pass
        assert current_account() == 1
    with account_context(1), account_context(2):
        assert current_account() == 2


def test_a_block_is_entered_once() -> None:
    block = account_context(1)
    with block, pytest.raises(RoutingError, match="entered already"), block:
        pass
    assert current_account() is None


def test_two_threads_do_not_share_a_block() -> None:
    block = account_context(1)

    def enter() -> int | None:
        with pytest.raises(RoutingError, match="entered already"):
            block.__enter__()
        return current_account()

    with block, ThreadPoolExecutor(1) as pool:
        assert pool.submit(enter).result() is None
    assert current_account() is None


def test_a_unit_that_fails_to_end_leaves_no_account(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(unit: object) -> None:
        raise OSError("Redis")

    monkeypatch.setattr("routers.context.end", fail)
    with pytest.raises(OSError, match="Redis"), account_context(1):
        pass
    assert current_account() is None


class AsyncCallable:
    async def __call__(self) -> int | None:
        await asyncio.sleep(0)
        return current_account()


@pytest.mark.parametrize(
    "work", [AsyncCallable(), partial(AsyncCallable.__call__, AsyncCallable())]
)
def test_what_is_async_without_saying_so_keeps_its_account(work: Any) -> None:
    with account_context(1):
        carried = carry(work)

    async def elsewhere() -> list[int | None]:
        with account_context(2):
            return [await carried(), await account_context(3)(work)()]

    assert asyncio.run(elsewhere()) == [1, 3]


def test_what_a_carried_generator_function_makes_keeps_the_account() -> None:
    def rows() -> Iterator[int | None]:
        yield current_account()

    async def async_rows() -> AsyncIterator[int | None]:
        yield current_account()

    with account_context(1):
        carried, async_carried = carry(rows), carry(async_rows)

    async def elsewhere() -> list[int | None]:
        return [row async for row in async_carried()]

    with account_context(2):
        assert list(carried()) == asyncio.run(elsewhere()) == [1]


def test_only_work_is_carried() -> None:
    with pytest.raises(TypeError, match="callable or an iterator, not list"):
        carry([1, 2])

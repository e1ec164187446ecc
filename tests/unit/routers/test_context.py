import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

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

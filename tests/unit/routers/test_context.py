import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import pytest

from routers import InvalidAccount, RoutingError, account_context, all_accounts, current_account
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

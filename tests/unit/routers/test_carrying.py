"""Every way to lose the account, or to keep one too long, and the test that shows what happens.

way                             what happens                            test

block that raises               the account ends                        test_context.py::test_context_ends_with_an_exception
nested contexts                 the outer one comes back                test_context.py::test_contexts_nest_and_end
switch in an open transaction   refused                                 test_transactions.py::test_another_account_cannot_be_set_inside_a_transaction
decorated function              set for each call                       test_context.py::test_decorator
decorated coroutine function    set while it runs                       test_a_decorated_coroutine_function
decorated generator function    refused                                 test_a_decorated_generator_function_is_refused
threading.Thread                none; carry() gives it                  test_a_thread
threading.Timer                 none; carry() gives it                  test_a_timer
ThreadPoolExecutor              none; carry() gives it                  test_a_pool_of_threads
AccountThreadPool               kept, for submit and map                test_the_librarys_pool_of_threads
… its connections               closed after each task                  test_the_librarys_pool_leaves_no_connection
loop.run_in_executor            none; carry() gives it                  test_run_in_executor
asyncio.to_thread               kept                                    test_to_thread
asyncio task                    the one it was made in, to its end      test_an_asyncio_task
asyncio tasks side by side      each its own                            test_context.py::test_asyncio_tasks_keep_their_own_accounts
loop.call_later                 the one it was asked in                 test_a_callback_of_the_loop
sync_to_async                   kept; what it sets comes back, as here  test_sync_to_async
async_to_sync                   kept                                    test_async_to_sync
sync_to_async in async_to_sync  kept                                    test_there_and_back
synchronous view                set for the request                     test_middleware.py::test_account_of_the_slug_is_set_for_the_view_and_not_longer
view that raises                the account ends                        test_middleware.py::test_account_ends_with_a_failing_view
async view                      set for the request                     test_middleware.py::test_account_is_set_under_asgi_too
streaming response              kept to its end                         test_middleware.py::test_a_stream_keeps_the_account
… in another thread             kept                                    test_middleware.py::test_a_stream_in_another_thread_keeps_the_account
… broken off                    closed inside the account               test_middleware.py::test_a_stream_that_is_broken_off_is_closed_inside_the_account
… under ASGI                    kept to its end                         test_middleware.py::test_a_stream_under_asgi_keeps_the_account
ASGI disconnect, in the view    cancelled inside the account, then none test_middleware.py::test_a_disconnect_ends_the_account_of_a_view_that_waits
ASGI disconnect, in a stream    closed inside the account               test_middleware.py::test_a_disconnect_closes_a_stream_inside_the_account
request after a disconnect      none                                    test_middleware.py::test_the_next_request_of_the_loop_has_no_account_after_a_disconnect
generator that sets one         leaks; its consumer is told             test_a_generator_that_leaks_is_found
generator in carry()            the account of carry(), at every step   test_a_generator_in_carry
… that sets one                 its own affair                          test_a_generator_in_carry_sets_its_own
async generator in carry()      the account of carry(), at every step   test_an_async_generator_in_carry
… that sets one                 its own affair                          test_an_async_generator_in_carry_sets_its_own
callback in carry()             the account of carry(), every time      test_a_callback_in_carry
coroutine function in carry()   the account of carry()                  test_a_coroutine_function_in_carry
on_commit                       the account that asked                  test_transactions.py::test_on_commit_runs_for_the_account_that_asked
signal, synchronous receiver    kept, by send and asend                 test_signals
signal, async receiver          kept, by send and asend                 test_signals
forked process                  none, nor in a pool of them             test_a_forked_process
spawned process                 none                                    test_a_spawned_process
atexit                          none; carry() gives it                  test_atexit
Celery: delay                   kept, in a header                       test_celery.py::test_a_task_runs_for_the_account_that_asked
Celery: countdown, eta          kept                                    test_celery.py::test_the_account_waits_with_a_countdown
Celery: retry                   the task's own                          test_celery.py::test_a_retry_is_for_the_tasks_own_account
Celery: chain                   kept                                    test_celery.py::test_the_links_of_a_chain
Celery: group, chord            kept                                    test_celery.py::test_a_group_and_the_callback_of_a_chord
Celery: link, link_error        kept                                    test_celery.py::test_callbacks_of_success_and_of_failure
Celery: task sent by a task     the sender's                            test_celery.py::test_what_a_task_sends_is_for_its_account
Celery: task after a task       none is left behind, by any pool        test_celery.py::test_a_worker_never_begins_with_the_account_of_the_task_before
Celery: hard time limit         none is left behind                     test_celery.py::test_a_worker_goes_on_without_the_account_of_a_killed_task
Celery: revoked                 none is left behind                     test_celery.py::test_a_revoked_task_leaves_nothing
Celery: beat                    none; sharded work raises               test_celery.py::test_beat_has_no_account
Celery: eager                   the caller's                            test_celery.py::test_an_eager_task_has_the_callers_account
Celery: eager, that leaks       the caller's comes back                 test_celery.py::test_an_eager_task_that_leaks_and_fails_leaves_its_caller_as_it_was
management command              --account, or in_account                test_commands.py::test_the_command_runs_inside_its_account
management command that fails   the account ends                        test_commands.py::test_the_account_ends_with_a_failing_command
admin page, also its template   the session's account                   test_admin.py::test_lists_searches_and_filters_hold_the_account_alone
admin, account changed meantime refused                                 test_admin.py::test_a_form_shown_for_another_account_is_refused
"""  # noqa: E501 - a table

import ast
import asyncio
import multiprocessing
import re
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connections
from django.dispatch import Signal

from routers import RoutingError, account_context, current_account
from routers.carrying import carry
from routers.threads import AccountThreadPool
from tests.unit.conftest import CONFIG
from tests.variants import CHECKOUT

HERE = Path(__file__).parent
ROW = re.compile(r"(?:(test_\w+\.py)::)?(test_\w+)$", re.MULTILINE)
Seen = list[int | None]


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    yield
    assert current_account() is None


def test_every_test_of_the_table_is_there() -> None:
    rows = ROW.findall(__doc__ or "")
    lines = [line for line in (__doc__ or "").splitlines()[3:] if line.strip()]
    assert len(rows) == len(lines), "each line names a test"
    for file, test in rows:
        tree = ast.parse((HERE / (file or Path(__file__).name)).read_text())
        assert test in {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}, test


def test_every_test_of_this_file_is_in_the_table() -> None:
    tree = ast.parse(Path(__file__).read_text())
    here = {n.name for n in tree.body if isinstance(n, ast.FunctionDef) if n.name[:5] == "test_"}
    assert {name for name in here if "_of_the_table_" not in name} - {
        test for file, test in ROW.findall(__doc__ or "") if not file
    } == {"test_every_test_of_this_file_is_in_the_table"}


# Functions


def test_a_decorated_coroutine_function() -> None:
    @account_context(3)
    async def work() -> int | None:
        await asyncio.sleep(0)
        return current_account()

    async def main() -> list[int | None]:
        return [await work(), current_account()]

    assert asyncio.run(main()) == [3, None]


def test_a_decorated_generator_function_is_refused() -> None:
    def rows() -> Iterator[int]:
        yield 1

    async def rows_async() -> AsyncIterator[int]:
        yield 1

    for function in (rows, rows_async):
        with pytest.raises(TypeError, match="is a generator function"):
            account_context(3)(function)


def test_a_callback_in_carry() -> None:
    with account_context(3):
        callback = carry(current_account)
    with account_context(4):
        assert [callback(), current_account(), callback()] == [3, 4, 3]


def test_a_coroutine_function_in_carry() -> None:
    async def work() -> int | None:
        await asyncio.sleep(0)
        return current_account()

    with account_context(3):
        carried = carry(work)

    async def main() -> Seen:
        return [await carried(), current_account()]

    assert asyncio.run(main()) == [3, None]


# Threads


def in_thread(make: Callable[[Callable[[], object]], threading.Thread]) -> Seen:
    """What a thread finds that is made inside account 3, without carry() and with it."""
    seen: Seen = []
    with account_context(3):
        for work in (
            lambda: seen.append(current_account()),
            carry(lambda: seen.append(current_account())),
        ):
            thread = make(work)
            thread.start()
            thread.join(10)
    return seen


def test_a_thread() -> None:
    assert in_thread(lambda work: threading.Thread(target=work)) == [None, 3]


def test_a_timer() -> None:
    assert in_thread(lambda work: threading.Timer(0, work)) == [None, 3]


def test_a_pool_of_threads() -> None:
    with ThreadPoolExecutor(1) as pool, account_context(3):
        assert pool.submit(current_account).result() is None
        assert pool.submit(carry(current_account)).result() == 3
        assert pool.submit(current_account).result() is None


def test_the_librarys_pool_of_threads() -> None:
    with AccountThreadPool(1) as pool:
        with account_context(3):
            first = pool.submit(current_account)
            both = pool.map(lambda number: (number, current_account()), [1, 2])
        with account_context(4):
            second = pool.submit(account_context(5)(current_account))
        last = pool.submit(current_account)
        found = [first.result(), second.result(), last.result(), *both]
    assert found == [3, 5, None, (1, 3), (2, 3)]


@pytest.mark.skipif(not CONFIG, reason="Django never closes a database in memory")
@pytest.mark.django_db(databases="__all__")
def test_the_librarys_pool_leaves_no_connection() -> None:
    def work(fails: bool) -> bool:
        was_open = connections["shard01"].connection is not None
        connections["shard01"].ensure_connection()
        assert not fails
        return was_open

    with AccountThreadPool(1) as pool:
        tasks = [pool.submit(work, fails) for fails in (False, True, False)]
        assert [task.exception() is None for task in tasks] == [True, False, True]
        assert [tasks[0].result(), tasks[2].result()] == [False, False]


# asyncio


def test_run_in_executor() -> None:
    async def main() -> Seen:
        run = asyncio.get_running_loop().run_in_executor
        with account_context(3):
            return [await run(None, current_account), await run(None, carry(current_account))]

    assert asyncio.run(main()) == [None, 3]


def test_to_thread() -> None:
    async def main() -> int | None:
        with account_context(3):
            return await asyncio.to_thread(current_account)

    assert asyncio.run(main()) == 3


def test_an_asyncio_task() -> None:
    async def main() -> Seen:
        go_on, seen = asyncio.Event(), []

        async def work() -> None:
            seen.append(current_account())
            await go_on.wait()
            seen.append(current_account())

        with account_context(3):
            task = asyncio.create_task(work())
            await asyncio.sleep(0)
        with account_context(4):
            go_on.set()
            await task
        return seen

    assert asyncio.run(main()) == [3, 3]


def test_a_callback_of_the_loop() -> None:
    async def main() -> int | None:
        loop = asyncio.get_running_loop()
        told: asyncio.Future[int | None] = loop.create_future()
        with account_context(3):
            loop.call_later(0, lambda: told.set_result(current_account()))
        return await told

    assert asyncio.run(main()) == 3


@pytest.mark.parametrize("thread_sensitive", [True, False])
def test_sync_to_async(thread_sensitive: bool) -> None:
    def work() -> int | None:
        with account_context(4):
            pass
        return current_account()

    async def main() -> Seen:
        with account_context(3):
            found = await sync_to_async(work, thread_sensitive=thread_sensitive)()
            return [found, current_account()]

    assert asyncio.run(main()) == [3, 3]


def test_async_to_sync() -> None:
    async def work() -> int | None:
        await asyncio.sleep(0)
        with account_context(4):
            await asyncio.sleep(0)
        return current_account()

    with account_context(3):
        assert async_to_sync(work)() == 3
        assert current_account() == 3


def test_there_and_back() -> None:
    async def work() -> int | None:
        return await sync_to_async(current_account)()

    with account_context(3):
        assert async_to_sync(work)() == 3


# Generators


def accounts(number: int = 3) -> Iterator[int | None]:
    for _ in range(number):
        yield current_account()


async def accounts_async(number: int = 3) -> AsyncIterator[int | None]:
    for _ in range(number):
        yield current_account()
        await asyncio.sleep(0)


def of_each_account() -> Iterator[int | None]:
    for account in (5, 6):
        with account_context(account):
            yield current_account()


async def of_each_account_async() -> AsyncIterator[int | None]:
    for account in (5, 6):
        with account_context(account):
            yield current_account()
            await asyncio.sleep(0)


def test_a_generator_that_leaks_is_found() -> None:
    rows = of_each_account()
    with (
        pytest.raises(RoutingError, match="block of account 3 was not left where"),
        account_context(3),
    ):
        assert next(rows) == 5
    assert current_account() is None
    rows.close()


def test_a_generator_in_carry() -> None:
    with account_context(3):
        rows = carry(accounts())
    with account_context(4):
        assert next(rows) == 3
    assert list(rows) == [3, 3]


def test_a_generator_in_carry_sets_its_own() -> None:
    seen: Seen = []
    with account_context(3):
        for account in carry(of_each_account()):
            seen += [account, current_account()]
    assert seen == [5, 3, 6, 3]


def test_an_async_generator_in_carry() -> None:
    async def main() -> Seen:
        with account_context(3):
            rows = carry(accounts_async())
        with account_context(4):
            first = await anext(rows)
        return [first, *[account async for account in rows]]

    assert asyncio.run(main()) == [3, 3, 3]


def test_an_async_generator_in_carry_sets_its_own() -> None:
    async def main() -> Seen:
        seen: Seen = []
        with account_context(3):
            async for account in carry(of_each_account_async()):
                seen += [account, current_account()]
        return seen

    assert asyncio.run(main()) == [5, 3, 6, 3]


# Signals


def test_signals() -> None:
    signal, seen = Signal(), []

    def receive(**kwargs: object) -> None:
        seen.append(current_account())

    async def receive_async(**kwargs: object) -> None:
        await asyncio.sleep(0)
        seen.append(current_account())

    async def send() -> None:
        with account_context(4):
            await signal.asend(sender=None)

    signal.connect(receive)
    signal.connect(receive_async)
    with account_context(3):
        signal.send(sender=None)
    asyncio.run(send())
    assert seen == [3, 3, 4, 4]


# Processes


def in_process(method: str) -> int | None:
    context = multiprocessing.get_context(method)
    with account_context(3), ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(current_account).result(60)


def test_a_forked_process() -> None:
    """Or a pool's worker would do everybody's tasks in the account that forked it."""
    assert in_process("fork") is None


def test_a_spawned_process() -> None:
    assert in_process("spawn") is None


def test_atexit() -> None:
    program = """
import atexit
from routers.carrying import carry
from routers.context import account_context, current_account
with account_context(3):
    atexit.register(lambda: print(current_account()))
    atexit.register(carry(lambda: print(current_account())))
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["3", "None"]

"""Reading several shards at once, in steps.

A step is one shard's next rows. A bounded pool of threads takes the steps, and no thread waits for
the consumer: between steps a shard is an open cursor, and at most one batch of it is kept ready.
Each shard has a connection of its own. A shard on which the calling thread has a transaction open,
and any SQLite database (one in memory belongs to one thread), is read by the calling thread.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from types import TracebackType
from typing import Any, Self

from django.db import Error

from routers.carrying import carry
from routers.context import SCOPE, Scope
from routers.exceptions import ShardUnavailable
from routers.fanout.read_only import (
    ApartConnection,
    ThreadsConnection,
    is_away,
    readable_apart,
)

__all__ = ["Policy", "ShardReads"]

IDLE_POOLS = 2  # kept of each size
# What is read on a shard, given its alias: runs on the shard, in the scope of all its accounts.
Reading = Callable[[str], Generator[Any, None, None]]
Step = Callable[[], list[Any]]


@dataclass(frozen=True)
class Policy:
    """`seconds` for a shard's step, `jobs` at once; `missing` takes the errors of shards away.

    Without it the first such error is raised.
    """

    seconds: float
    jobs: int
    missing: dict[str, ShardUnavailable] | None = None


class _ShardRead:
    """One shard's rows, `size` at a time; all at once without. Steps run one after another."""

    def __init__(self, alias: str, reading: Reading, size: int | None, seconds: float) -> None:
        self.alias, self.ended, self.apart = alias, False, readable_apart(alias)
        self._reading, self._size = reading, size
        self._connection = (
            ApartConnection(alias, seconds, once=size is None)
            if self.apart
            else ThreadsConnection(alias)
        )
        self._rows: Generator[Any, None, None] | None = None
        self._read = 0
        self.step: Step = carry(self._step)
        self.future: Future[list[Any]] | None = None

    def _step(self) -> list[Any]:
        """The next rows. Sets `ended` with the last of them; raises ShardUnavailable."""
        # Not `all_accounts`: it refuses a switch inside a transaction, and this one only reads.
        SCOPE.set(Scope(shard=self.alias))
        try:
            rows = self._next_rows()
        except BaseException as error:
            self.close()
            if isinstance(error, Error) and is_away(self.alias, error):
                raise ShardUnavailable(self.alias, self._reason(error)) from error
            error.add_note(f"This was on {self.alias}.")
            raise
        if self._size is None or len(rows) < self._size:
            self.close(finished=True)
        return rows

    def _next_rows(self) -> list[Any]:
        with self._connection.step():
            if self._rows is None:
                self._rows = self._reading(self.alias)
            rows = list(islice(self._rows, self._size))
        self._read += len(rows)
        return rows

    def _reason(self, error: Error) -> str:
        after = f"after {self._read} rows, " if self._read else ""
        return after + (" ".join(str(error).split()) or type(error).__name__)

    def hang_up(self) -> None:
        """Break off a step that runs, and begin none that waits."""
        if self.future is not None and not self.future.cancel() and self.future.running():
            self._connection.hang_up()

    def close(self, *, finished: bool = False) -> None:
        """Give back what is held. Can be called twice."""
        self.ended = True
        rows, self._rows = self._rows, None
        self._connection.close(rows, finished=finished)


_idle: dict[int, list[ThreadPoolExecutor]] = defaultdict(list)  # by their number of threads
os.register_at_fork(after_in_child=_idle.clear)


def _pool(jobs: int) -> ThreadPoolExecutor:
    """Threads of one fan-out alone: a server that is frozen keeps nobody else's waiting."""
    with suppress(IndexError):
        return _idle[jobs].pop()
    return ThreadPoolExecutor(jobs, thread_name_prefix="fan-out")


def _keep(pool: ThreadPoolExecutor, jobs: int) -> None:
    """For the next fan-out, when nothing runs there any more: starting threads takes longer."""
    _idle[jobs].append(pool)
    if len(_idle[jobs]) > IDLE_POOLS:
        _idle[jobs].pop(0).shutdown(wait=False)


class ShardReads:
    """The reads of several shards, as a context manager that leaves nothing behind.

    `size` rows are a step; None where all of a shard's rows come with its first answer.
    """

    def __init__(
        self, aliases: Iterable[str], reading: Reading, size: int | None, policy: Policy
    ) -> None:
        self._reads = [_ShardRead(alias, reading, size, policy.seconds) for alias in aliases]
        self._missing = policy.missing
        self._pool, self._jobs = _pool(policy.jobs), policy.jobs

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        for read in self._reads:
            read.hang_up()
        wait([read.future for read in self._reads if read.future is not None])
        for read in self._reads:
            read.close()
        _keep(self._pool, self._jobs)

    def arriving(self) -> Iterator[Any]:
        """The rows of all shards, as they come."""
        started = {self._submit(read): read for read in self._reads if read.apart}
        for read in self._reads:
            while not read.apart and not read.ended:
                yield from self._answer(read.step)
        while started:
            done, _ = wait(started, return_when=FIRST_COMPLETED)
            for future in done:
                read = started.pop(future)
                rows = self._answer(future.result)
                if not read.ended:
                    started[self._submit(read)] = read
                yield from rows

    def streams(self) -> list[Iterator[Any]]:
        """One iterator of rows for each shard. All are started at once."""
        return [self._stream(read, self._started(read)) for read in self._reads]

    def _started(self, read: _ShardRead) -> Step:
        """The read's next step: begun, where another thread can take it."""
        return self._submit(read).result if read.apart else read.step

    def _submit(self, read: _ShardRead) -> Future[list[Any]]:
        read.future = self._pool.submit(read.step)
        return read.future

    def _stream(self, read: _ShardRead, step: Step) -> Iterator[Any]:
        rows = self._answer(step)
        while not read.ended:
            step = self._started(read)
            yield from rows
            rows = self._answer(step)
        yield from rows

    def _answer(self, step: Step) -> list[Any]:
        try:
            return step()
        except ShardUnavailable as error:
            if self._missing is None:
                raise
            self._missing[error.shard] = error
            return []

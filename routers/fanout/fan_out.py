"""One read over every shard: `fan_out(Order.objects.order_by("-created_at"))[:20]`.

Shards are read in parallel, each in a read-only transaction, in which nothing can be written. Rows
in an order are merged as they come, so that the result never has to fit in memory. Shards are read
at slightly different instants. A subquery, an annotation and a prefetch see their own shard.
"""

from collections.abc import AsyncIterator, Callable, Generator, Iterator
from heapq import merge
from itertools import islice
from operator import itemgetter
from typing import Any, Literal, NoReturn

from asgiref.sync import sync_to_async

from routers.conf import settings
from routers.exceptions import NotDivisible, RoutingError, ShardUnavailable
from routers.fanout.combine import Combined
from routers.fanout.divide import divisible, on_shard
from routers.fanout.merge import Keyed
from routers.fanout.shard_reads import Policy, ShardReads

__all__ = ["FanOut", "fan_out"]

CHUNK = 1000
JOBS = 16
TIMEOUT_SECONDS = 30.0

Missing = Literal["raise", "skip"]


def fan_out(
    queryset: Any,
    *,
    timeout: float = TIMEOUT_SECONDS,
    missing: Missing = "raise",
    jobs: int = JOBS,
) -> "FanOut":
    """The queryset's rows on all shards, not read before they are asked for.

    `queryset` was begun outside of any account, or inside `all_accounts()`. A shard that is away,
    or takes more than `timeout` seconds for its next rows, raises ShardUnavailable; with
    `missing="skip"` it is left out, and named in `.missing`. `jobs` shards are read at once.
    Raises NotDivisible for what cannot be put together from each shard's answer.
    """
    if missing not in ("raise", "skip"):
        raise RoutingError(f'missing is "raise" or "skip", not {missing!r}.')
    divisible(queryset)
    query = queryset.query
    away: dict[str, ShardUnavailable] | None = {} if missing == "skip" else None
    return FanOut(queryset, Policy(timeout, jobs, away), query.low_mark, query.high_mark)


class FanOut:
    """Rows of all shards. Made by `fan_out`. Every use of it reads anew; nothing is kept."""

    def __init__(self, queryset: Any, policy: Policy, start: int, stop: int | None) -> None:
        self._queryset, self._policy = queryset, policy
        self._start, self._stop = start, stop

    @property
    def missing(self) -> dict[str, ShardUnavailable]:
        """Shard → why it was left out of the last read (or out of its end)."""
        return dict(self._policy.missing or {})

    def __iter__(self) -> Iterator[Any]:
        return self.iterator()

    def iterator(self, chunk_size: int = CHUNK) -> Generator[Any, None, None]:
        """The rows. At most twice `chunk_size` rows of each shard are in memory.

        Closing it, or leaving a loop over it, stops the shards' queries.
        """
        if self._stop is not None and self._stop <= self._start:
            return
        size = None if self._fits(chunk_size) else chunk_size
        with self._reads(self._keyed_rows(chunk_size), size) as reads:
            if self._is_ordered():
                rows: Iterator[Any] = merge(*reads.streams(), key=itemgetter(0))
            else:
                rows = reads.arriving()
            for _, row in islice(rows, self._start, self._stop):
                yield row

    def count(self) -> int:
        """How many rows there are, counted by the shards."""
        total = sum(self._answers(lambda queryset, alias: queryset.count()))
        stop = total if self._stop is None else min(total, self._stop)
        return max(stop - self._start, 0)

    def exists(self) -> bool:
        """Whether there is a row. The first shard that has one settles it."""
        if self._is_sliced():
            return self.count() > 0
        return any(self._answers(lambda queryset, alias: queryset.exists()))

    __bool__ = exists

    def first(self) -> Any:
        """The first row in the query's order, or by primary key; None where there is none."""
        return next(iter(self[:1]), None)

    def aggregate(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Count, Sum, Min, Max and Avg over all shards, as `QuerySet.aggregate`.

        Raises NotDivisible for others, and for distinct values that several shards may have.
        """
        if self._is_sliced():
            self._refuse("aggregate() of a slice. Aggregate the rows: sum(row.x for row in …).")
        named = {aggregate.default_alias: aggregate for aggregate in args} | kwargs
        parts = [Combined(name, part, self._queryset.model) for name, part in named.items()]
        for part in parts:
            part.check(self._queryset)

        def ask(queryset: Any, alias: str) -> Any:
            asked: dict[str, Any] = {}
            for part in parts:
                asked |= part.asked(queryset, alias)
            return queryset.aggregate(**asked)

        answers = list(self._answers(ask))
        return {part.name: part.of(answers, self._queryset) for part in parts}

    def __getitem__(self, key: int | slice) -> Any:
        """One row; or a slice, which reads nothing yet, and at most `stop` rows of each shard."""
        if isinstance(key, int):
            return self._row(key)
        start, stop = key.start or 0, key.stop
        if start < 0 or (stop is not None and stop < 0) or key.step not in (None, 1):
            self._refuse("a slice counts from the start, one by one. For the last rows, reverse().")
        if self._queryset.query.combinator:
            self._refuse("a combined query over several shards has no slices.")
        stops = [self._start + stop] if stop is not None else []
        stops += [self._stop] if self._stop is not None else []
        return FanOut(
            self._queryset, self._policy, self._start + start, min(stops) if stops else None
        )

    async def __aiter__(self) -> AsyncIterator[Any]:
        rows = self.iterator()
        try:
            while chunk := await sync_to_async(lambda: list(islice(rows, CHUNK)))():
                for row in chunk:
                    yield row
        finally:
            await sync_to_async(rows.close)()

    async def acount(self) -> int:
        return await sync_to_async(self.count)()

    async def aexists(self) -> bool:
        return await sync_to_async(self.exists)()

    async def afirst(self) -> Any:
        return await sync_to_async(self.first)()

    async def aaggregate(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return await sync_to_async(self.aggregate)(*args, **kwargs)

    def _row(self, index: int) -> Any:
        for row in self[index : index + 1]:
            return row
        raise IndexError(index)

    def _is_sliced(self) -> bool:
        return self._start > 0 or self._stop is not None

    def _is_ordered(self) -> bool:
        """Whether the query has an order, or needs one: pages must not overlap."""
        return self._queryset.ordered or self._is_sliced()

    def _reads(self, reading: Any, size: int | None) -> ShardReads:
        if self._policy.missing is not None:
            self._policy.missing.clear()
        return ShardReads(sorted(settings().shards), reading, size, self._policy)

    def _answers(self, ask: Callable[[Any, str], Any]) -> Iterator[Any]:
        """One answer of each shard, as they come."""

        def reading(alias: str) -> Generator[Any, None, None]:
            yield ask(on_shard(self._queryset), alias)

        with self._reads(reading, size=None) as reads:
            yield from reads.arriving()

    def _fits(self, chunk_size: int) -> bool:
        """Whether a shard's rows fit into one step."""
        return self._stop is not None and self._stop <= chunk_size

    def _keyed_rows(self, chunk_size: int) -> Callable[[str], Generator[Any, None, None]]:
        """What a shard is asked for: (key, row), and no key where there is no order."""

        def reading(alias: str) -> Generator[Any, None, None]:
            keyed = Keyed(on_shard(self._queryset), alias, total=self._is_sliced())
            keyed.queryset.query.set_limits(0, self._stop)
            yield from keyed.rows(chunk_size, streamed=not self._fits(chunk_size))

        return reading

    def _refuse(self, why: str) -> NoReturn:
        raise NotDivisible(f"{self._queryset.model._meta.label}: {why}")

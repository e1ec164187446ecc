"""Taking the account along where it does not follow by itself: threads, pools, streams."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import Context, copy_context
from functools import wraps
from typing import Any, TypeVar

from routers.context import Switch, current_scope, is_async

__all__ = ["carry"]

Work = TypeVar("Work")


def carry(work: Work) -> Work:
    """`work` bound to the present context, for a thread, a pool or a response that streams.

    A function runs in a copy of the context. An iterator, synchronous or not, takes each of its
    steps there, and so does what a generator function makes: it finds its account again, and what
    it sets does not leak into its consumer. Closing it closes what it wraps, in the same context.
    Raises TypeError for anything else.
    """
    bound: Any
    if isinstance(work, AsyncIterator):
        bound = _steps_async(work, copy_context())
    elif isinstance(work, Iterator):
        bound = _steps(work, copy_context())
    elif not callable(work):
        raise TypeError(f"carry() takes a callable or an iterator, not {type(work).__name__}.")
    elif inspect.isgeneratorfunction(work):
        bound = _maker(work, _steps, copy_context())
    elif inspect.isasyncgenfunction(work):
        bound = _maker(work, _steps_async, copy_context())
    elif is_async(work):
        bound = _coroutine(work)
    else:
        bound = _function(work, copy_context())
    return bound


def _maker(work: Any, steps: Callable[[Any, Context], Any], context: Context) -> Callable[..., Any]:
    @wraps(work)
    def inside(*args: Any, **kwargs: Any) -> Any:
        return steps(work(*args, **kwargs), context.copy())

    return inside


def _function(work: Any, context: Context) -> Callable[..., Any]:
    @wraps(work)
    def inside(*args: Any, **kwargs: Any) -> Any:
        return context.copy().run(work, *args, **kwargs)

    return inside


def _coroutine(work: Any) -> Callable[..., Any]:
    scope = current_scope()

    @wraps(work)
    async def inside(*args: Any, **kwargs: Any) -> Any:
        with Switch(scope):
            return await work(*args, **kwargs)

    return inside


def _steps(work: Any, context: Context) -> Iterator[Any]:
    ended = object()
    try:
        while (item := context.run(next, work, ended)) is not ended:
            yield item
    finally:
        if hasattr(work, "close"):
            context.run(work.close)


async def _steps_async(work: Any, context: Context) -> AsyncIterator[Any]:
    ended = object()
    try:
        while (item := await _task(anext(work, ended), context)) is not ended:
            yield item
    finally:
        if hasattr(work, "aclose"):
            await _task(work.aclose(), context)


def _task(step: Any, context: Context) -> asyncio.Task[Any]:
    async def inside() -> Any:
        return await step

    return asyncio.create_task(inside(), context=context)

"""The account of a request, taken from the URL's slug."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from contextvars import Context, copy_context
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.http import HttpRequest, HttpResponseBase
from django.urls import Resolver404, resolve

from routers.conf import settings
from routers.context import account_context, carry
from routers.visitor import begin_request, end_request, keep

__all__ = ["AccountMiddleware", "carry_stream"]


class AccountMiddleware:
    """Set the account for a view whose URL has `<slug:account_slug>`; it lasts for the request.

    `SHARDING["ACCOUNT_FROM_SLUG"]` names the function (request, slug) → account id, which raises
    Http404 for a slug that is not there. Works under WSGI and ASGI. A response that streams keeps
    the account while it does. A request is one unit of work: see `routers.replicas`.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self.is_async:
            return self._answer(request)
        unit = begin_request(request)
        try:
            with self._account(request):
                response = carry_stream(self.get_response(request))
        finally:
            end_request(unit)
        return keep(response, unit)

    async def _answer(self, request: HttpRequest) -> HttpResponseBase:
        unit = begin_request(request)
        try:
            with await sync_to_async(self._account)(request):
                response = carry_stream(await self.get_response(request))
        finally:
            if unit is not None:
                await sync_to_async(end_request)(unit)
        return keep(response, unit)

    @staticmethod
    def _account(request: HttpRequest) -> AbstractContextManager[None]:
        """The context for this request. Raises what the project's function raises."""
        find = settings().account_from_slug
        try:
            # Kept, as Django does later: an error page may ask which view was meant.
            request.resolver_match = resolve(request.path_info)
        except Resolver404:
            return nullcontext()
        slug = request.resolver_match.kwargs.get(settings().slug_argument)
        return account_context(find(request, slug)) if find and slug else nullcontext()


def carry_stream(response: Any) -> HttpResponseBase:
    """The response; what it streams, and what is done when it is closed, bound to this context.

    A file is left alone: the server may send it by itself, and it asks no database.
    """
    if response.streaming and getattr(response, "file_to_stream", None) is None:
        steps = _steps_async if response.is_async else _steps
        response.streaming_content = steps(response.streaming_content, copy_context())
        response.close = carry(response.close)
    streamed: HttpResponseBase = response
    return streamed


def _steps(work: Iterator[bytes], context: Context) -> Iterator[bytes]:
    ended = object()
    while (item := context.run(next, work, ended)) is not ended:
        yield item  # type: ignore[misc]


async def _steps_async(work: AsyncGenerator[bytes], context: Context) -> AsyncIterator[bytes]:
    """A client that goes away ends it in the same context, with whatever cleans up there."""
    try:
        while (item := await _task(anext(work, None), context)) is not None:
            yield item
    finally:
        await _task(work.aclose(), context)


def _task(step: Any, context: Context) -> asyncio.Task[Any]:
    async def inside() -> Any:
        return await step

    return asyncio.create_task(inside(), context=context)

"""The account of a request, taken from the URL's slug."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.http import HttpRequest, HttpResponseBase
from django.urls import Resolver404, resolve

from routers.carrying import carry
from routers.conf import settings
from routers.context import account_context
from routers.replicas.visitor import begin_request, end_request, keep

__all__ = ["AccountMiddleware", "carry_stream"]


class AccountMiddleware:
    """Set the account for a view whose URL has `<slug:account_slug>`; it lasts for the request.

    `SHARDING["ACCOUNT_FROM_SLUG"]` names the function (request, slug) → account id, which raises
    Http404 for a slug that is not there. Works under WSGI and ASGI. A response that streams keeps
    the account while it does. A request is one unit of work: see `routers.replicas.units`.
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
        response.streaming_content = carry(response.streaming_content)
        response.close = carry(response.close)
    streamed: HttpResponseBase = response
    return streamed

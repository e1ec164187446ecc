"""The account of a request, taken from the URL's slug; a request that a shard refused runs again.

Which may: GET, HEAD, OPTIONS; and any other whose writes were all made in the one transaction that
was refused, so that it has left nothing behind (`routers.ownership.attempt`). A view that does what
must not be done twice before it writes (mail, a call of another service) says so by `mark_done()`,
or does it on commit. What is not run again, or is refused for SHARDING["MOVING_SECONDS"], gets 503
with Retry-After: the project's template `routers/moving.html`, or one line of text. What was
refused while a response streams, or in another middleware, is an error.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.template import TemplateDoesNotExist
from django.template.loader import render_to_string
from django.urls import Resolver404, resolve

from routers.carrying import carry
from routers.conf import settings
from routers.context import account_context
from routers.exceptions import AccountElsewhere
from routers.ownership.again import Patience
from routers.ownership.attempt import Attempt, attempting
from routers.replicas.visitor import begin_request, end_request, keep

__all__ = ["AccountMiddleware", "carry_stream"]

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
RETRY_AFTER_SECONDS = 1
TEMPLATE, TEXT = "routers/moving.html", "This account is being moved. Try again in a moment."


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
                response = carry_stream(self._answered(request))
        finally:
            end_request(unit)
        return keep(response, unit)

    async def _answer(self, request: HttpRequest) -> HttpResponseBase:
        unit = begin_request(request)
        try:
            with await sync_to_async(self._account)(request):
                response = carry_stream(await self._answered_async(request))
        finally:
            if unit is not None:
                await sync_to_async(end_request)(unit)
        return keep(response, unit)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Django's hook, for what a view raises: 503, unless the request can be run again."""
        if not isinstance(error, AccountElsewhere):
            return None
        request.routers_refused = error  # type: ignore[attr-defined]
        headers = {"Retry-After": RETRY_AFTER_SECONDS}
        return HttpResponse(TEXT, status=503, content_type="text/plain", headers=headers)

    def _answered(self, request: HttpRequest) -> HttpResponseBase:
        patience = Patience()
        while True:
            with attempting() as attempt:
                response: HttpResponseBase = self.get_response(request)
            pause = _before_the_next(request, response, attempt, patience)
            if pause is None:
                return response
            time.sleep(pause)

    async def _answered_async(self, request: HttpRequest) -> HttpResponseBase:
        patience = Patience()
        while True:
            with attempting() as attempt:
                response: HttpResponseBase = await self.get_response(request)
            pause = await sync_to_async(_before_the_next)(request, response, attempt, patience)
            if pause is None:
                return response
            await asyncio.sleep(pause)

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


def _before_the_next(
    request: Any, response: Any, attempt: Attempt, patience: Patience
) -> float | None:
    """Seconds to wait before the request is run again; None where its response stands."""
    error = request.__dict__.pop("routers_refused", None)
    if error is None:
        return None
    pause = patience.pause(error)  # learns of the new map, also for the next request
    if request.method not in SAFE_METHODS and not (attempt.left_nothing and _is_whole(request)):
        pause = None
    if pause is None:
        _show_page(request, response)
    return pause


def _show_page(request: HttpRequest, response: Any) -> None:
    """Put the project's page in the place of the text, where it has one."""
    with suppress(TemplateDoesNotExist, ImproperlyConfigured):
        response.content = render_to_string(TEMPLATE, request=request)
        response["Content-Type"] = "text/html; charset=utf-8"


def _is_whole(request: Any) -> bool:
    """Whether a view can read the request's body a second time: Django has kept it."""
    if getattr(request, "_files", None):
        return False
    return (
        not getattr(request, "_read_started", False)
        or hasattr(request, "_post")
        or hasattr(request, "_body")
    )

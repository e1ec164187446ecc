"""A server that is away gives its own accounts a page that says so, and nobody else anything."""

import logging
from collections.abc import Callable

from django.db import InterfaceError, OperationalError, connections
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render

from routers import current_account, shard_of

__all__ = ["OutageMiddleware", "outage_page"]

RETRY_AFTER_SECONDS = 5
logger = logging.getLogger(__name__)


class OutageMiddleware:
    """Answers 503 where a database could not be reached, naming which one."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if not isinstance(error, OperationalError | InterfaceError):
            return None
        return outage_page(request, error)


def outage_page(request: HttpRequest, error: Exception) -> HttpResponse:
    """503, naming the database that is away."""
    away = _databases_away()
    logger.error("%s %s: %s is away: %s", request.method, request.path, away, error)
    response = render(request, "503.html", {"away": away}, status=503)
    response["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


def _databases_away() -> str:
    """The aliases on which this thread's request has just failed."""
    failed = [connection.alias for connection in connections.all() if connection.errors_occurred]
    for alias in failed:
        connections[alias].close()
    account_id = current_account()
    if not failed and account_id is not None:  # the failed connection has been replaced already
        failed = [shard_of(account_id)]
    return ", ".join("the catalog" if alias == "default" else alias for alias in failed)

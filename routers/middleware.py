"""The account of a request, taken from the URL's slug."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from django.http import HttpRequest, HttpResponseBase

from routers.conf import settings
from routers.context import account_context

__all__ = ["AccountMiddleware"]


class AccountMiddleware:
    """Set the account for a view whose URL has `<slug:account_slug>`; it lasts for the request.

    `SHARDING["ACCOUNT_FROM_SLUG"]` names the function (request, slug) → account id, which raises
    Http404 for a slug that is not there.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        with ExitStack() as scopes:
            request.account_scopes = scopes  # type: ignore[attr-defined]
            return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: object, args: object, kwargs: dict[str, Any]
    ) -> None:
        slug = kwargs.get(settings().slug_argument)
        resolve = settings().account_from_slug
        if slug is not None and resolve is not None:
            scopes: ExitStack = request.account_scopes  # type: ignore[attr-defined]
            scopes.enter_context(account_context(resolve(request, slug)))

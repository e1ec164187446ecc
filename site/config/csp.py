"""A strict Content-Security-Policy: everything from this site, nothing inline."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase

__all__ = ["CspMiddleware"]

POLICY = (
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)


class CspMiddleware:
    """Sets the header on every answer that has none."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        response.headers.setdefault("Content-Security-Policy", POLICY)
        return response

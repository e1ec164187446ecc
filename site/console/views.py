"""The staff's console: the cluster at a glance, kept new by the page itself."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.cache import get_conditional_response, set_response_etag
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe

from console.kept import Kept
from console.live import live
from console.placed import placed
from console.runbooks import chapters

__all__ = ["PARTS", "home", "part", "runbooks"]

PARTS = {
    "live": Kept("live", 4.0, lambda: render_to_string("console/live.html", live())),
    "placed": Kept("placed", 20.0, lambda: render_to_string("console/placed.html", placed())),
}
"""Rendered once for all staff and processes: however many walls show them, the cost is one's."""


def staff_required(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """For staff. To anybody else who is logged in, the console does not exist."""

    @wraps(view)
    @cache_control(private=True, no_cache=True)
    def guarded(request: Any, **kwargs: Any) -> HttpResponseBase:
        if not request.user.is_authenticated:
            if request.headers.get("X-Requested-With"):
                raise PermissionDenied("Log in again.")
            return redirect_to_login(request.get_full_path())
        if not request.user.is_staff:
            raise Http404
        return view(request, **kwargs)

    return guarded


@staff_required
@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """The console, whole."""
    parts = {name: kept.get() for name, kept in PARTS.items()}
    return render(request, "console/home.html", {"parts": parts})


@staff_required
@require_safe
def part(request: HttpRequest, name: str) -> HttpResponseBase:
    """What has changed of the console: one part's HTML, or 304."""
    if name not in PARTS:
        raise Http404
    response = HttpResponse(PARTS[name].get())
    set_response_etag(response)
    changed = get_conditional_response(request, etag=response["ETag"], response=response)
    assert changed is not None  # noqa: S101 - None only where no response was given
    return changed


@staff_required
@require_safe
def runbooks(request: HttpRequest) -> HttpResponse:
    """What to do about an alert."""
    return render(request, "console/runbooks.html", {"chapters": chapters()})

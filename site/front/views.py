"""The front page: a map of test sessions that start just now, for whoever is not logged in."""

from datetime import UTC, datetime

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.utils.cache import get_conditional_response
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe

from accounts.views import home as accounts
from front.feed import feed
from front.world import HEIGHT, WIDTH

__all__ = ["home", "starts"]


@cache_control(private=True, no_cache=True)
def home(request: HttpRequest) -> HttpResponseBase:
    """A person's accounts; the front page for everybody else, without a query."""
    if request.user.is_authenticated:
        return accounts(request)
    return front(request)


@require_safe
def front(request: HttpRequest) -> HttpResponse:
    """The map as it is now; the page keeps it new."""
    shown = feed().shown
    recent = [
        {**start, "at": datetime.fromtimestamp(start["at"], UTC)} for start in shown["starts"]
    ]
    context = {"shown": shown, "recent": recent, "width": WIDTH, "height": HEIGHT}
    return render(request, "front/front.html", context)


@require_safe
def starts(request: HttpRequest) -> HttpResponseBase:
    """The same as JSON for all: {"total", "missing", "starts": [{"key", "at", "name", "x", "y"}]}.

    "total" is null while it is being counted; a start in no known country has no place.
    """
    now = feed()
    response = get_conditional_response(request, etag=now.etag)
    response = response or HttpResponse(now.body, content_type="application/json")
    response["ETag"] = now.etag
    response["Cache-Control"] = "public, max-age=1"
    return response

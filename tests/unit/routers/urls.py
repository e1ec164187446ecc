"""One view that answers with the account in force, for the middleware's tests."""

from django.http import Http404, HttpRequest, HttpResponse
from django.urls import path

from routers import current_account

ACCOUNTS = {"acme": 1, "basalt": 2}


def account_of_slug(request: HttpRequest, slug: str) -> int:
    if slug not in ACCOUNTS:
        raise Http404(slug)
    return ACCOUNTS[slug]


def show(request: HttpRequest, **kwargs: str) -> HttpResponse:
    return HttpResponse(str(current_account()))


def fail(request: HttpRequest, account_slug: str) -> HttpResponse:
    raise ValueError(account_slug)


urlpatterns = [
    path("", show),
    path("a/<slug:account_slug>/", show),
    path("a/<slug:account_slug>/fail/", fail),
]

"""Logging in, and the way to one's accounts."""

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import cache_control

from accounts.selectors import memberships_of

__all__ = ["home"]


@login_required
@cache_control(private=True, no_cache=True)
def home(request: HttpRequest) -> HttpResponse:
    """The accounts a person works in; straight to the only one."""
    memberships = memberships_of(request.user)  # type: ignore[arg-type]
    if len(memberships) == 1:
        return redirect("assessments:dashboard", memberships[0].account.slug)
    return render(request, "accounts/home.html", {"memberships": memberships})

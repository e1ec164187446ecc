"""Error pages. None of them asks a database for anything, but for who is logged in on a 404."""

import sys

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from accounts.access import is_members_only
from config.outage import outage_page

__all__ = ["bad_request", "csrf_failure", "not_found", "permission_denied", "server_error"]


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """400, or 413 for a form that is too large."""
    too_large = isinstance(exception, RequestDataTooBig)
    return render(request, "400.html", {"too_large": too_large}, status=413 if too_large else 400)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """403, with the reason that the view gave."""
    return render(request, "403.html", {"reason": str(exception)}, status=403)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """403 for a form without its token: most often one that has been open for long."""
    return render(request, "403.html", {"stale_form": True}, status=403)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """404. Whoever is not logged in is asked to, whether or not the account exists."""
    if is_members_only(request) and not request.user.is_authenticated:
        return redirect_to_login(request.get_full_path())
    invitation = request.path.startswith("/c/")
    return render(request, "404.html", {"invitation": invitation}, status=404)


def server_error(request: HttpRequest) -> HttpResponse:
    """500; or 503 where a database was away outside any view, as when the account is looked up."""
    error = sys.exc_info()[1]
    if isinstance(error, OperationalError | InterfaceError):
        return outage_page(request, error)
    return render(request, "500.html", status=500)

"""The public pages of contests, and an account's way into them."""

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe

from accounts.access import MemberRequest, member_required
from contests import selectors, services
from contests.boards import BOARD
from contests.models import Contest
from contests.pages import rendered
from prepared import Answer, State, answered

__all__ = ["board", "contest", "contests", "ours"]


@require_safe
@cache_control(public=True, max_age=30)
def contests(request: HttpRequest) -> HttpResponse:
    """All of them. One query, in the catalog."""
    return render(request, "contests/contests.html", {"contests": selectors.shown()})


@require_safe
def contest(request: HttpRequest, slug: str) -> HttpResponseBase:
    """A contest and its leaderboard. No query where there is a board, one in the catalog else."""
    return _shown(request, slug, "contests/contest.html")


@require_safe
def board(request: HttpRequest, slug: str) -> HttpResponseBase:
    """The leaderboard alone, for a page that keeps itself new."""
    return _shown(request, slug, "contests/board.html")


def _shown(request: HttpRequest, slug: str, template: str) -> HttpResponseBase:
    answer, about = _answer(slug)
    return answered(request, answer, lambda it: HttpResponse(rendered(template, it, about)))


def _answer(slug: str) -> tuple[Answer, Contest | None]:
    """The board; the contest itself is only looked up where there is none yet. Raises Http404."""
    answer = BOARD.peek(slug)
    if answer is None:
        about = get_object_or_404(Contest, slug=slug)
        return BOARD.get(slug), about
    return (answer if answer.state is State.FRESH else BOARD.get(slug)), None


@member_required
def ours(request: MemberRequest) -> HttpResponse:
    """The contests that the account can take part in; POST takes part, and leads to invitations."""
    if request.method == "POST":
        return _take_part(request)
    context = {"contests": selectors.open_contests(), "joined": selectors.joined()}
    return render(request, "contests/ours.html", context)


def _take_part(request: MemberRequest) -> HttpResponse:
    if not request.membership.may_invite:
        raise PermissionDenied("Your role in this account lets you look, but not change.")
    chosen = get_object_or_404(Contest, slug=request.POST.get("contest"))
    if chosen.state == "over":
        messages.error(request, f"{chosen.name} is over.")
        return redirect("contests:ours", request.account.slug)
    test = services.contest_join(chosen)
    messages.success(request, f"You take part in {chosen.name}. Now invite your candidates.")
    return redirect(f"{reverse('assessments:invite', args=[request.account.slug])}?test={test.pk}")

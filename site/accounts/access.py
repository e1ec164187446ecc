"""Who may see an account's pages."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponseBase
from django.views.decorators.cache import cache_control

from accounts.models import Account, Membership, User
from accounts.selectors import memberships_of

__all__ = ["MemberRequest", "inviter_required", "is_members_only", "member_required"]

View = Callable[..., HttpResponseBase]


class MemberRequest(HttpRequest):
    """What a view behind `member_required` gets."""

    user: User
    account: Account
    membership: Membership
    memberships: list[Membership]


def member_required(view: View) -> View:
    """For members of the URL's account. To anybody else logged in, the account does not exist.

    Sets `request.membership`, and `request.memberships` for the account switcher, in one query.
    The routing middleware has set `request.account`.
    """

    @wraps(view)
    @cache_control(private=True, no_cache=True)
    def guarded(request: Any, account_slug: str, **kwargs: Any) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        request.memberships = memberships_of(request.user)
        request.membership = _membership_in(request.account, request.memberships)
        return view(request, **kwargs)

    guarded.members_only = True  # type: ignore[attr-defined]
    return guarded


def inviter_required(view: View) -> View:
    """For members whose role allows changes; viewers get the 403 page."""

    @wraps(view)
    def guarded(request: MemberRequest, **kwargs: Any) -> HttpResponseBase:
        if not request.membership.may_invite:
            raise PermissionDenied("Your role in this account lets you look, but not change.")
        return view(request, **kwargs)

    return member_required(guarded)


def is_members_only(request: HttpRequest) -> bool:
    """Whether the URL belongs to a view behind `member_required`."""
    match = request.resolver_match
    return match is not None and getattr(match.func, "members_only", False)


def _membership_in(account: Account, memberships: list[Membership]) -> Membership:
    for membership in memberships:
        if membership.account_id == account.pk:
            return membership
    raise Http404

"""Reads on accounts and people."""

from typing import Any

from django.http import Http404, HttpRequest

from accounts.models import Account, Membership, User
from accounts.remembered import from_row, remembered, row_of

__all__ = ["account_id_of_slug", "account_of_slug", "memberships_of"]


def account_of_slug(slug: str) -> Account:
    """The account of a slug. Raises Account.DoesNotExist."""
    return remembered(
        f"account:{slug}",
        lambda: Account.objects.get(slug=slug),
        freeze=row_of,
        thaw=lambda row: from_row(Account, row),
    )


def account_id_of_slug(request: HttpRequest, slug: str) -> int:
    """For the routing middleware: the slug's account id; the account is kept on the request."""
    try:
        account = account_of_slug(slug)
    except Account.DoesNotExist:
        raise Http404(f"There is no account {slug!r}.") from None
    request.account = account  # type: ignore[attr-defined]
    return account.pk


def memberships_of(user: User) -> list[Membership]:
    """The accounts a person works in, by name, in one query."""
    mine = user.memberships.select_related("account").order_by("account__name")
    return remembered(
        f"memberships:{user.pk}", lambda: list(mine), freeze=_frozen, thaw=_memberships
    )


def _frozen(memberships: list[Membership]) -> list[Any]:
    return [(row_of(membership), row_of(membership.account)) for membership in memberships]


def _memberships(rows: list[Any]) -> list[Membership]:
    found = []
    for membership_row, account_row in rows:
        membership: Membership = from_row(Membership, membership_row)
        membership.account = from_row(Account, account_row)
        found.append(membership)
    return found

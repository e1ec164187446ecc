"""Reads on accounts and people."""

from django.http import Http404, HttpRequest

from accounts.models import Account, Membership, User

__all__ = ["account_id_of_slug", "account_of_slug", "memberships_of"]


def account_of_slug(slug: str) -> Account:
    """The account of a slug. Raises Account.DoesNotExist."""
    return Account.objects.get(slug=slug)


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
    return list(user.memberships.select_related("account").order_by("account__name"))

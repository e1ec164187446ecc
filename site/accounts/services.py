"""Writes on accounts and people."""

from django.db import transaction

from accounts.models import Account, Membership, User
from routers.conf import CATALOG

__all__ = ["account_create", "membership_set"]


@transaction.atomic(using=CATALOG)
def account_create(
    *,
    slug: str,
    name: str,
    owner: User,
    plan: str = Account.Plan.TRIAL,
    credits: int = 50,
) -> Account:
    """A new account with its first owner."""
    account = Account.objects.create(slug=slug, name=name, plan=plan, credits=credits)
    membership_set(user=owner, account=account, role=Membership.Role.OWNER)
    return account


def membership_set(*, user: User, account: Account, role: str) -> Membership:
    """Give a person a role in an account, or change it."""
    membership, _ = Membership.objects.update_or_create(
        user=user, account=account, defaults={"role": role}
    )
    return membership

"""The staff's admin at /admin/: an account is chosen by its slug or its id."""

from typing import Any

from django.apps import apps
from django.contrib.admin.apps import AdminConfig
from django.http import HttpRequest

from routers.admin import AccountAdminSite

__all__ = ["SiteAdmin", "SiteAdminConfig"]

SUGGESTED = 50


class SiteAdmin(AccountAdminSite):
    """Superusers may work in every account; other staff see what is in the catalog."""

    site_header = "Fulcrum administration"
    site_title = "Fulcrum"

    def find_account(self, given: str) -> int | None:
        found = self._accounts().filter(slug=given.strip().lower()).values_list("pk", flat=True)
        return found.first() or super().find_account(given)

    def describe_account(self, account_id: int) -> str | None:
        return self._accounts().filter(pk=account_id).values_list("name", flat=True).first()

    def suggest_accounts(self, request: HttpRequest) -> list[tuple[str, str]]:
        if not request.user.is_superuser:
            return []
        return list(self._accounts().order_by("name").values_list("slug", "name")[:SUGGESTED])

    @staticmethod
    def _accounts() -> Any:
        return apps.get_model("accounts.Account").objects  # not loaded yet when this module is


class SiteAdminConfig(AdminConfig):
    default_site = "config.admin.SiteAdmin"

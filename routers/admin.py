"""Django's admin over shards: an account is chosen first, and every page runs inside it.

`routers` stands before `django.contrib.admin` in INSTALLED_APPS, so that the header can show the
account; a project with an `admin/base_site.html` of its own includes "routers/account_bar.html".
"""

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.contrib.admin import AdminSite, ModelAdmin
from django.contrib.admin.helpers import ActionForm
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils.http import url_has_allowed_host_and_scheme

from routers.conf import CATALOG
from routers.context import account_context, current_account
from routers.exceptions import AccountNotSet, InvalidAccount
from routers.middleware import carry_stream
from routers.placement import Placement, is_sharded, placement_of

__all__ = ["AccountAdminSite", "AccountModelAdmin", "AccountModelForm"]

IN_ACCOUNT = "in_account"  # a form's field: the account for which its page was shown
SESSION_KEY = "routers_admin_account"
STALE = "This page was shown for another account than the one chosen now. Nothing was stored."


class AccountAdminSite(AdminSite):
    """An AdminSite whose pages run inside the account that is kept in the session.

    Pages of sharded models ask for an account first, and come back afterwards; those of global and
    reference models need none. A project says by the four methods below what its accounts are.
    """

    choose_account_template = "routers/choose_account.html"

    def find_account(self, given: str) -> int | None:
        """The id that somebody means by what they typed; None where it means no account."""
        return int(given) if given.isdecimal() else None

    def describe_account(self, account_id: int) -> str | None:
        """The account's name; None where there is no such account. (Here: any is.)"""
        return f"account {account_id}"

    def may_choose_account(self, request: HttpRequest, account_id: int) -> bool:
        """Whether that person may work in that account. Asked again at every request."""
        return bool(getattr(request.user, "is_superuser", False))

    def suggest_accounts(self, request: HttpRequest) -> Iterable[tuple[str, str]]:
        """What the page offers to choose from: pairs of what to type, and the name."""
        return ()

    # What follows is Django's.

    def register(self, model_or_iterable: Any, admin_class: Any = None, **options: Any) -> None:
        """Django's. Raises ImproperlyConfigured where a sharded model has another ModelAdmin."""
        one = isinstance(model_or_iterable, type)
        models: Iterable[Any] = [model_or_iterable] if one else model_or_iterable
        for model in models:
            if is_sharded(model) and not issubclass(admin_class or ModelAdmin, AccountModelAdmin):
                raise ImproperlyConfigured(
                    f"The admin of {model._meta.label} must be a routers.admin.AccountModelAdmin, "
                    f"which refuses a form that was shown for another account."
                )
        super().register(models, admin_class, **options)

    def get_urls(self) -> list[URLResolver | URLPattern]:
        choose = self.admin_view(self.choose_account)
        return [path("account/", choose, name="choose_account"), *super().get_urls()]

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        @wraps(view)
        def inside(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            account_id = self._account_of(request)
            try:
                if account_id is not None:
                    with account_context(account_id):
                        return _rendered(view(request, *args, **kwargs))
                model = getattr(getattr(view, "__self__", None), "model", None)
                if model is None or not is_sharded(model):
                    return _rendered(view(request, *args, **kwargs))
            except AccountNotSet:
                if account_id is not None:
                    raise
            return HttpResponseRedirect(self._address_of_choice(request.get_full_path()))

        return super().admin_view(inside, cacheable)

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        chosen = getattr(request, "admin_account", None)
        return {
            **super().each_context(request),
            "choose_account_url": self._address_of_choice(request.get_full_path()),
            "chosen_account": chosen,
        }

    def choose_account(self, request: HttpRequest) -> HttpResponse:
        """The page where an account is chosen, and left."""
        form = _ChoiceForm(request.POST or None, initial={"account": request.GET.get("account")})
        form.choose = lambda given: self._choose(request, given)
        if request.method == "POST" and "leave" in request.POST:
            request.session.pop(SESSION_KEY, None)
            return HttpResponseRedirect(self._address("index"))
        if request.method == "POST" and form.is_valid():
            request.session[SESSION_KEY] = form.cleaned_data["account"]
            return HttpResponseRedirect(self._next(request))
        context = {
            **self.each_context(request),
            "title": "Choose an account",
            "form": form,
            "suggestions": list(self.suggest_accounts(request)),
            "next": request.POST.get("next") or request.GET.get("next", ""),
        }
        request.current_app = self.name
        return TemplateResponse(request, self.choose_account_template, context)

    def _choose(self, request: HttpRequest, given: str) -> int:
        account_id = self.find_account(given)
        if account_id is None or self._name_for(request, account_id) is None:
            raise ValidationError(f"There is no account {given!r} in which you may work.")
        return account_id

    def _account_of(self, request: HttpRequest) -> int | None:
        """The account in the session, if there still is one and this person may be in it."""
        account_id = request.session.get(SESSION_KEY)
        if account_id is None:
            return None
        name = self._name_for(request, account_id)
        if name is None:
            del request.session[SESSION_KEY]
            return None
        request.admin_account = {"id": account_id, "name": name}  # type: ignore[attr-defined]
        return int(account_id)

    def _name_for(self, request: HttpRequest, account_id: int) -> str | None:
        try:
            account_context(account_id)
        except InvalidAccount:
            return None
        if not self.may_choose_account(request, account_id):
            return None
        return self.describe_account(account_id)

    def _next(self, request: HttpRequest) -> str:
        address = request.POST.get("next", "")
        safe = url_has_allowed_host_and_scheme(address, {request.get_host()}, request.is_secure())
        return address if safe else self._address("index")

    def _address(self, name: str) -> str:
        return reverse(f"admin:{name}", current_app=self.name)

    def _address_of_choice(self, back_to: str) -> str:
        address = self._address("choose_account")
        if back_to.startswith(address):
            return address
        return f"{address}?{urlencode({'next': back_to})}"


class _ChoiceForm(forms.Form):
    account = forms.CharField(max_length=100, widget=forms.TextInput({"list": "accounts"}))
    choose: Callable[[str], int]

    def clean_account(self) -> int:
        return self.choose(self.cleaned_data["account"])


class AccountModelForm(forms.ModelForm):
    """A form that knows its row's account, so that constraints on account_id are checked here."""

    def _get_validation_exclusions(self) -> set[str]:
        excluded: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]
        return excluded - {"account_id"}

    def _post_clean(self) -> None:
        if is_sharded(type(self.instance)) and self.instance.account_id is None:
            self.instance.account_id = current_account()
        super()._post_clean()  # type: ignore[misc]


class _AccountActionForm(ActionForm):
    in_account = forms.CharField(
        widget=forms.HiddenInput, required=False, label="", initial=lambda: current_account() or ""
    )

    def clean(self) -> dict[str, Any]:
        """Rows chosen one by one are of the account, or not found; "all" would be another's."""
        given = super().clean() or {}
        if given["select_across"] and given[IN_ACCOUNT] != str(current_account() or ""):
            raise ValidationError(STALE)
        return given


class AccountModelAdmin(ModelAdmin):
    """The admin of a sharded or a reference model.

    A form or an action that was shown for one account is refused once another is chosen. Reference
    rows are read where they are written, and cannot be deleted: any account may refer to them.
    """

    form = AccountModelForm
    action_form = _AccountActionForm
    change_form_template = "routers/change_form.html"
    show_full_result_count = False  # it would count a large account's rows twice

    def get_queryset(self, request: HttpRequest) -> Any:
        rows = super().get_queryset(request)
        return rows.using(CATALOG) if self._is_reference else rows

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return not self._is_reference and super().has_delete_permission(request, obj)

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        shown_for, now = request.POST.get(IN_ACCOUNT), current_account()
        if request.method == "POST" and is_sharded(self.model) and shown_for != str(now):
            messages.error(request, STALE)
            return HttpResponseRedirect(request.get_full_path())
        return super().changeform_view(request, *args, **kwargs)

    @property
    def _is_reference(self) -> bool:
        return placement_of(self.model) is Placement.REFERENCE


def _rendered(response: Any) -> Any:
    """A template is rendered, and a stream bound, while the account is in force."""
    if hasattr(response, "render"):
        response = response.render()
    return carry_stream(response)

"""Accounts, people and their roles: all in the catalog, so no account need be chosen."""

from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.forms import AdminUserCreationForm, UserChangeForm
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from accounts.models import Account, Membership, User


class MembershipInline(admin.TabularInline):
    model = Membership
    extra = 0
    autocomplete_fields = ["user", "account"]


@admin.register(Account)
class AccountAdmin(admin.ModelAdmin):
    list_display = ["name", "slug", "id", "plan", "credits", "created_at", "rows"]
    list_filter = ["plan"]
    search_fields = ["name", "slug"]
    ordering = ["name"]
    inlines = [MembershipInline]

    @admin.display(description="Its rows")
    def rows(self, account: Account) -> str:
        asked = {
            "account": account.slug,
            "next": reverse("admin:assessments_testsession_changelist"),
        }
        address = f"{reverse('admin:choose_account')}?{urlencode(asked)}"
        return format_html('<a href="{}">work in it</a>', address)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # its rows on the shard would stay behind


class UserForm(UserChangeForm):
    class Meta:
        model = User
        fields = "__all__"
        field_classes: dict[str, type[forms.Field]] = {}


class NewUserForm(AdminUserCreationForm):
    class Meta:
        model = User
        fields = ("email",)
        field_classes: dict[str, type[forms.Field]] = {}

    def clean_email(self) -> str:
        return str(self.cleaned_data["email"]).lower()


@admin.register(User)
class UserAdmin(DjangoUserAdmin):
    form = UserForm
    add_form = NewUserForm
    list_display = ["email", "name", "is_active", "is_staff", "created_at"]
    list_filter = ["is_active", "is_staff", "is_superuser"]
    search_fields = ["email", "name"]
    ordering = ["email"]
    inlines = [MembershipInline]
    fieldsets = [
        (None, {"fields": ["email", "password", "name"]}),
        ("Rights", {"fields": ["is_active", "is_staff", "is_superuser", "groups"]}),
        ("Dates", {"fields": ["last_login", "created_at"]}),
    ]
    readonly_fields = ["last_login", "created_at"]
    filter_horizontal = ["groups"]
    add_fieldsets = [(None, {"fields": ["email", "usable_password", "password1", "password2"]})]

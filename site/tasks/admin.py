"""Tasks and countries come from the code, by `load_tasks`: here they are only looked at."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from routers.admin import AccountModelAdmin
from tasks.models import Country, Task


class LoadedAdmin(AccountModelAdmin):
    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Task)
class TaskAdmin(LoadedAdmin):
    list_display = ["title", "slug", "difficulty", "points", "minutes"]
    list_filter = ["difficulty"]
    search_fields = ["title", "slug"]
    ordering = ["title"]


@admin.register(Country)
class CountryAdmin(LoadedAdmin):
    list_display = ["code", "name"]
    search_fields = ["code", "name"]
    ordering = ["name"]

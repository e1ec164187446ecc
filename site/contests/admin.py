"""Contests are made by the staff."""

from django.contrib import admin

from contests.models import Contest, ContestTask


class ContestTaskInline(admin.TabularInline):
    model = ContestTask
    extra = 0


@admin.register(Contest)
class ContestAdmin(admin.ModelAdmin):
    list_display = ["name", "slug", "starts_at", "ends_at", "minutes"]
    search_fields = ["name", "slug"]
    ordering = ["-starts_at"]
    inlines = [ContestTaskInline]

"""An account's own rows, on its shard: its account is chosen first."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from assessments.models import Answer, Candidate, Test, TestSession, TestTask
from routers.admin import AccountModelAdmin, AccountModelForm


class TestTaskInline(admin.TabularInline):
    model = TestTask
    form = AccountModelForm
    extra = 0


@admin.register(Test)
class TestAdmin(AccountModelAdmin):
    list_display = ["name", "minutes", "created_at"]
    search_fields = ["name"]
    ordering = ["name"]
    inlines = [TestTaskInline]


@admin.register(Candidate)
class CandidateAdmin(AccountModelAdmin):
    list_display = ["name", "email", "created_at"]
    search_fields = ["name", "email"]
    ordering = ["name"]


class AnswerInline(admin.TabularInline):
    model = Answer
    fields = readonly_fields = ("task", "submitted_at", "correctness", "performance", "score")
    extra = 0

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # only candidates answer


@admin.register(TestSession)
class TestSessionAdmin(AccountModelAdmin):
    list_display = ["code", "candidate", "test", "status", "started_at", "score", "maximum"]
    list_select_related = ["candidate", "test"]
    list_filter = ["status", "test"]
    search_fields = ["code", "candidate__name", "candidate__email"]
    autocomplete_fields = ["candidate", "test"]
    ordering = ["-created_at", "-pk"]
    inlines = [AnswerInline]

"""An account's pages: dashboard, sessions, report, invitations, tests."""

from datetime import datetime
from functools import cached_property
from typing import Any

from django.contrib import messages
from django.db import IntegrityError
from django.http import Http404, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_safe

from accounts.access import MemberRequest, inviter_required, member_required
from assessments import selectors, services
from assessments.columns import ColumnHead, column_heads
from assessments.forms import CsvForm, InviteForm, SessionsForm, TestForm
from assessments.imports import ImportRefused, import_candidates
from assessments.keyset import BadCursor, Page
from assessments.models import TestSession

__all__ = [
    "answer_output",
    "dashboard",
    "invite",
    "invite_csv",
    "report",
    "sessions",
    "test_new",
    "tests",
]

SHOWN_REJECTS = 200
CURSORS = ("after", "before")


@member_required
@require_safe
def dashboard(request: MemberRequest) -> HttpResponse:
    """The account at a glance."""
    return render(request, "assessments/dashboard.html", {"shown": DashboardShown(request)})


class DashboardShown:
    """What the dashboard shows, read when its template asks for it."""

    def __init__(self, request: MemberRequest) -> None:
        self._credits = request.account.credits

    @cached_property
    def figures(self) -> selectors.Dashboard:
        return selectors.dashboard()

    @property
    def credits_left(self) -> int:
        return max(self._credits - self.figures.started, 0)


@member_required
@require_safe
def sessions(request: MemberRequest) -> HttpResponse:
    """The sessions table: filter, search, order, and a page of it."""
    shown = SessionsShown(request.GET)
    try:
        if shown.is_inside:
            shown.page  # noqa: B018 - now, for a cursor may be anybody's
    except BadCursor:
        return render(request, "assessments/bad_cursor.html", status=400)
    return render(request, "assessments/sessions.html", {"shown": shown})


class SessionsShown:
    """What the sessions table shows for a query, read when its template asks for it."""

    def __init__(self, query: QueryDict) -> None:
        self._query = query
        self.is_inside = bool(query.get("after") or query.get("before"))

    @cached_property
    def form(self) -> SessionsForm:
        form = SessionsForm(self._query or None, list(selectors.tests()))
        form.is_bound = True
        return form

    @cached_property
    def wanted(self) -> selectors.SessionFilter:
        return self.form.wanted()

    @cached_property
    def page(self) -> Page[TestSession]:
        """Raises BadCursor."""
        cursors = {name: self._query.get(name) for name in CURSORS}
        return selectors.session_page(self.wanted, **cursors)

    @property
    def heads(self) -> list[ColumnHead]:
        return column_heads(self._query, self.wanted)

    @property
    def is_filtered(self) -> bool:
        return bool(self.wanted.search or self.wanted.status or self.wanted.test_id)

    @property
    def first(self) -> str | None:
        """The address of the first page, None on it; then those of the pages around this one."""
        return self._link() if self.is_inside else None

    @property
    def previous(self) -> str | None:
        return self._link(before=self.page.before) if self.page.before else None

    @property
    def next(self) -> str | None:
        return self._link(after=self.page.after) if self.page.after else None

    def _link(self, **cursor: str) -> str:
        kept = {k: str(v) for k, v in self._query.items() if v and k not in CURSORS}
        return f"?{urlencode({**kept, **cursor})}"


@member_required
@require_safe
def report(request: MemberRequest, code: str) -> HttpResponse:
    """One session: candidate, state, tasks, total, timeline. Says so while it is not ready."""
    session = services.session_finish_if_over(_session_or_404(code))
    shown = {"session": session, "shown": ReportShown(session)}
    return render(request, "assessments/report.html", shown)


class ReportShown:
    """What a report shows beside its session; answers are read when its template asks for them."""

    def __init__(self, session: TestSession) -> None:
        self._session = session
        self._chosen = selectors.chosen_tasks(session)

    @property
    def tasks(self) -> list[tuple[Any, ...]]:
        """All that is shown of them: what is kept of an account is not told of their writes."""
        return [
            (row.position, row.task.slug, row.task.title, row.task.difficulty, row.task.points)
            for row in self._chosen
        ]

    @cached_property
    def rows(self) -> list[selectors.TaskRow]:
        return selectors.task_rows(self._session, self._chosen)

    @property
    def submitted(self) -> bool:
        return any(row.answer for row in self.rows)

    @property
    def timeline(self) -> list[tuple[datetime, str]]:
        return selectors.timeline(self._session, self.rows)


@member_required
@require_safe
def answer_output(request: MemberRequest, code: str, task_slug: str) -> HttpResponse:
    """The whole of a submitted output, as a file."""
    session = _session_or_404(code)
    for row in selectors.task_rows(session):
        if row.answer and row.task.slug == task_slug:
            return text_file(row.answer.output, f"{session.code}-{task_slug}-output.txt")
    raise Http404


@inviter_required
def invite(request: MemberRequest) -> HttpResponse:
    """Invite one person; then the page shows the link to send, and is ready for the next."""
    form = InviteForm(request.POST or None, initial={"test": request.GET.get("test")})
    if request.method == "POST" and form.is_valid() and _has_credit(request, form):
        given = form.cleaned_data
        session = services.session_invite(**given)
        query = urlencode({"made": session.code, "test": given["test"].pk})
        return redirect(f"{reverse('assessments:invite', args=[request.account.slug])}?{query}")
    made = _session_or_none(request.GET.get("made", ""))
    return render(request, "assessments/invite.html", {"form": form, "made": made})


@inviter_required
def invite_csv(request: MemberRequest) -> HttpResponse:
    """Candidates from a file. The POST answers with the result: sent again, it adds nothing."""
    form = CsvForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid() and _has_credit(request, form):
        test = form.cleaned_data["test"]
        try:
            result = import_candidates(form.cleaned_data["file"].file, test=test)
        except ImportRefused as refusal:
            form.add_error("file", str(refusal))
        else:
            context: dict[str, Any] = {
                "result": result,
                "test": test,
                "rejected": result.rejected[:SHOWN_REJECTS],
                "more_rejected": max(len(result.rejected) - SHOWN_REJECTS, 0),
            }
            return render(request, "assessments/invite_csv_result.html", context)
    return render(request, "assessments/invite_csv.html", {"form": form})


def _has_credit(request: MemberRequest, form: InviteForm | CsvForm) -> bool:
    """False, with an error in the form, where an invitation could not be taken up."""
    if not form.cleaned_data["test"] or selectors.credits_used() < request.account.credits:
        return True
    form.add_error(
        "test",
        f"All {request.account.credits:,} credits of this account are used, so nobody could start "
        f"the test. Buy more, then invite.",
    )
    return False


@member_required
@require_safe
def tests(request: MemberRequest) -> HttpResponse:
    """The account's tests and the tasks in each."""
    found = selectors.tests().prefetch_related("test_tasks__task")
    return render(request, "assessments/tests.html", {"tests": found})


@inviter_required
def test_new(request: MemberRequest) -> HttpResponse:
    """Make a test."""
    form = TestForm(request.POST or None)
    if request.method == "POST" and form.is_valid() and _test_created(form):
        messages.success(request, f"The test “{form.cleaned_data['name']}” is ready.")
        return redirect("assessments:tests", request.account.slug)
    return render(request, "assessments/test_new.html", {"form": form})


def _test_created(form: TestForm) -> bool:
    """False, with an error in the form, where somebody else was faster with the same name."""
    names = ("name", "minutes", "tasks")
    try:
        services.test_create(**{name: form.cleaned_data[name] for name in names})
    except IntegrityError:
        form.add_error("name", "There is a test of that name already.")
        return False
    return True


def text_file(text: str, name: str) -> HttpResponse:
    """A plain text file to save."""
    response = HttpResponse(text, content_type="text/plain; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _session_or_404(code: str) -> TestSession:
    session = _session_or_none(code)
    if session is None:
        raise Http404
    return session


def _session_or_none(code: str) -> TestSession | None:
    if not code.isalnum():
        return None
    try:
        return selectors.session_by_code(code)
    except TestSession.DoesNotExist:
        return None

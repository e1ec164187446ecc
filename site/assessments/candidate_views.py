"""A candidate's own pages. No login: whoever has the invitation's code may sit the test."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from assessments import selectors, services
from assessments.forms import OutputForm, StartForm
from assessments.models import TestSession
from assessments.selectors import TaskRow
from assessments.services import SessionClosed
from assessments.views import text_file
from tasks import library

__all__ = ["check", "finish", "home", "input_file", "start", "task"]

Status = TestSession.Status


def with_session(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponseBase]:
    """Gives the view the session of the URL's code; 404 for a code that the account does not have.

    A session that cannot be worked on (any more) leads to the session's first page, which says so.
    """

    @wraps(view)
    @cache_control(private=True, no_cache=True)
    def with_code(request: HttpRequest, account_slug: str, code: str, **kwargs: Any) -> Any:
        try:
            session = selectors.session_by_code(code)
        except TestSession.DoesNotExist:
            raise Http404 from None
        session = services.session_finish_if_over(session)
        try:
            return view(request, session, **kwargs)
        except SessionClosed as closed:
            messages.error(request, str(closed))
            return redirect("assessments:candidate_home", account_slug, session.code)

    return with_code


@with_session
@require_safe
def home(request: HttpRequest, session: TestSession) -> HttpResponse:
    """Welcome, task list or thanks, as the session's state has it."""
    if session.status == Status.INVITED:
        return _welcome(request, session, StartForm())
    if session.status == Status.STARTED:
        rows = selectors.task_rows(session)
        return render(request, "candidate/tasks.html", _clock(session) | {"rows": rows})
    return render(request, "candidate/thanks.html", {"session": session})


@with_session
@require_POST
def start(request: HttpRequest, session: TestSession) -> HttpResponse:
    """The candidate accepts: the clock runs."""
    form = StartForm(request.POST)
    if session.status == Status.INVITED and not form.is_valid():
        return _welcome(request, session, form)
    country = form.cleaned_data["country"] if form.is_valid() else None
    services.session_start(session, country=country, credits=request.account.credits)  # type: ignore[attr-defined]
    return _to_home(request, session)


@with_session
@require_http_methods(["GET", "HEAD", "POST"])
def task(request: HttpRequest, session: TestSession, task_slug: str) -> HttpResponse:
    """A task; POST submits its output."""
    row = _open_row(session, task_slug)
    if request.method == "POST":
        form = OutputForm(request.POST, request.FILES)
        if form.is_valid() and _submitted(session, row, form):
            messages.success(request, f"Your output for {row.task.title} is in.")
            return redirect(request.path)
        return _task_page(request, session, row, form=form)
    return _task_page(request, session, row, form=OutputForm())


@with_session
@require_POST
def check(request: HttpRequest, session: TestSession, task_slug: str) -> HttpResponse:
    """Say at once whether an output is right for the statement's example. Nothing is stored."""
    row = _open_row(session, task_slug)
    output = request.POST.get("output", "")
    try:
        right, says = library.check_example(library.get(row.task.slug), output)
    except library.SubmissionTooLarge as error:
        right, says = False, str(error)
    checked = {"output": output[:2000], "right": right, "says": says}
    return _task_page(request, session, row, form=OutputForm(), checked=checked)


@with_session
@require_safe
def input_file(request: HttpRequest, session: TestSession, task_slug: str) -> HttpResponse:
    """The session's own input for a task, made from its code."""
    row = _open_row(session, task_slug)
    text = library.input_file(library.get(row.task.slug), session.code)
    return text_file(text, f"{row.task.slug}-input.txt")


@with_session
@require_http_methods(["GET", "HEAD", "POST"])
def finish(request: HttpRequest, session: TestSession) -> HttpResponse:
    """Ask whether the candidate is done; POST ends the session."""
    if request.method == "POST":
        services.session_finish(session)
        return _to_home(request, session)
    if session.status != Status.STARTED:
        return _to_home(request, session)
    rows = selectors.task_rows(session)
    missing = [row for row in rows if row.answer is None]
    context = _clock(session) | {"rows": rows, "missing": missing}
    return render(request, "candidate/finish.html", context)


def _to_home(request: HttpRequest, session: TestSession) -> HttpResponse:
    account = request.account  # type: ignore[attr-defined]
    return redirect("assessments:candidate_home", account.slug, session.code)


def _welcome(request: HttpRequest, session: TestSession, form: StartForm) -> HttpResponse:
    rows = selectors.task_rows(session)
    points = sum(row.task.points for row in rows)
    context = {"session": session, "rows": rows, "points": points, "form": form}
    return render(request, "candidate/welcome.html", context)


def _open_row(session: TestSession, task_slug: str) -> TaskRow:
    """The task and its answer. Raises Http404 for a task of another test, and SessionClosed."""
    if session.status == Status.INVITED:
        raise SessionClosed("Accept the invitation first; then the tasks open.")
    if session.status != Status.STARTED:
        raise SessionClosed("This session is finished: the tasks are closed.")
    for row in selectors.task_rows(session):
        if row.task.slug == task_slug:
            return row
    raise Http404


def _submitted(session: TestSession, row: TaskRow, form: OutputForm) -> bool:
    """Store the output; False, with an error in the form, where it is too large."""
    try:
        services.answer_submit(session, task=row.task, output=_output(form))
    except library.SubmissionTooLarge as error:
        form.add_error(None, str(error))
        return False
    return True


def _output(form: OutputForm) -> str:
    """The output given. A file's size is looked at before it is read. Raises SubmissionTooLarge."""
    file = form.cleaned_data["file"]
    if not file:
        return str(form.cleaned_data["text"])
    return library.decode_output(file.read(library.MAX_OUTPUT_BYTES + 1))


def _task_page(
    request: HttpRequest,
    session: TestSession,
    row: TaskRow,
    *,
    form: OutputForm,
    checked: dict[str, Any] | None = None,
) -> HttpResponse:
    context = _clock(session) | {
        "row": row,
        "task": row.task,
        "file_format": library.FILE_FORMAT,
        "max_output": library.MAX_OUTPUT_BYTES,
        "form": form,
        "checked": checked,
    }
    return render(request, "candidate/task.html", context)


def _clock(session: TestSession) -> dict[str, Any]:
    """The session and the time it has left, which the server alone decides."""
    left = (session.deadline - timezone.now()).total_seconds() if session.deadline else 0
    return {"session": session, "seconds_left": max(int(left), 0)}

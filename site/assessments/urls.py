"""An account's pages under /a/, its candidates' pages under /c/."""

from django.urls import URLPattern, URLResolver, include, path

from assessments import candidate_views, views
from assessments.states import report_state

app_name = "assessments"
account_pages: list[URLPattern | URLResolver] = [
    path("", views.dashboard, name="dashboard"),
    path("sessions/", views.sessions, name="sessions"),
    path("sessions/<slug:code>/", views.report, name="report"),
    path("sessions/<slug:code>/state.json", report_state, name="report_state"),
    path("sessions/<slug:code>/<slug:task_slug>.txt", views.answer_output, name="answer_output"),
    path("invite/", views.invite, name="invite"),
    path("invite/csv/", views.invite_csv, name="invite_csv"),
    path("tests/", views.tests, name="tests"),
    path("tests/new/", views.test_new, name="test_new"),
]
task_pages: list[URLPattern | URLResolver] = [
    path("", candidate_views.task, name="candidate_task"),
    path("check/", candidate_views.check, name="candidate_check"),
    path("input.txt", candidate_views.input_file, name="candidate_input"),
]
candidate_pages: list[URLPattern | URLResolver] = [
    path("", candidate_views.home, name="candidate_home"),
    path("start/", candidate_views.start, name="candidate_start"),
    path("finish/", candidate_views.finish, name="candidate_finish"),
    path("tasks/<slug:task_slug>/", include(task_pages)),
]
urlpatterns = [
    path("a/<slug:account_slug>/", include(account_pages)),
    path("c/<slug:account_slug>/<slug:code>/", include(candidate_pages)),
]

"""Public pages under /contests/; an account's own under /a/."""

from django.urls import path

from contests import views

app_name = "contests"
urlpatterns = [
    path("contests/", views.contests, name="contests"),
    path("contests/<slug:slug>/", views.contest, name="contest"),
    path("contests/<slug:slug>/board/", views.board, name="board"),
    path("a/<slug:account_slug>/contests/", views.ours, name="ours"),
]

"""The staff's console."""

from django.urls import path

from console import views

app_name = "console"
urlpatterns = [
    path("", views.home, name="home"),
    path("parts/<slug:name>/", views.part, name="part"),
    path("runbooks/", views.runbooks, name="runbooks"),
]

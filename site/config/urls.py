"""The site's pages: people's under `accounts`, an account's and its candidates' under `assessments`."""

from django.urls import include, path

urlpatterns = [
    path("", include("accounts.urls")),
    path("", include("assessments.urls")),
]

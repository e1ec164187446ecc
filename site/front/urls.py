"""The front page, and what it asks for."""

from django.urls import path

from front import views

app_name = "front"
urlpatterns = [
    path("", views.home, name="home"),
    path("starts.json", views.starts, name="starts"),
]

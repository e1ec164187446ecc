"""Login, logout, and the accounts a person works in."""

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from accounts import views
from accounts.forms import LoginForm

app_name = "accounts"
login = LoginView.as_view(
    authentication_form=LoginForm,
    template_name="accounts/login.html",
    redirect_authenticated_user=True,
)
urlpatterns = [
    path("", views.home, name="home"),
    path("login/", login, name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
]

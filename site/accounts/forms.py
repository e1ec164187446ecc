"""The login form."""

from typing import Any

from django import forms
from django.contrib.auth.forms import AuthenticationForm

__all__ = ["LoginForm"]


class LoginForm(AuthenticationForm):
    """Django's own form, asking for an e-mail address."""

    username = forms.EmailField(
        label="E-mail address",
        widget=forms.EmailInput(attrs={"autocomplete": "username", "autofocus": True}),
    )
    error_messages = {
        "invalid_login": "That e-mail address and password do not belong together. "
        "Mind capital letters in the password.",
        "inactive": "This login has been switched off.",
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.label_suffix = ""

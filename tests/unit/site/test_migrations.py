"""The migrations say what the models are: a newcomer's first `makemigrations` finds nothing."""

import pytest
from django.core.management import call_command


@pytest.mark.django_db(databases="__all__")
def test_no_model_has_changed_since_its_migrations() -> None:
    call_command("makemigrations", "--check", "--dry-run", skip_checks=True)

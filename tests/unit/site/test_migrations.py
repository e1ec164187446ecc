"""The migrations say what the models are: a newcomer's first `makemigrations` finds nothing."""

import pytest
from django.core.management import call_command
from django.db import connections

from routers.migrating.schema_facts import read_schema


@pytest.mark.django_db(databases="__all__")
def test_no_model_has_changed_since_its_migrations() -> None:
    call_command("makemigrations", "--check", "--dry-run", skip_checks=True)


@pytest.mark.django_db(databases="__all__")
@pytest.mark.parametrize("alias", ["default", "shard01"])
def test_a_table_of_no_model_is_made_everywhere_and_is_no_drift(alias: str) -> None:
    connection = connections[alias]
    assert "caching_service" in connection.introspection.table_names()
    tables = {fact.table for fact in read_schema(connection)}
    assert "caching_service" not in tables
    assert "django_session" in tables or "assessments_test" in tables

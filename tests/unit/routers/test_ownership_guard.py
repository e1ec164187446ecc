"""What the guard of a connection does before the connection's first statement."""

from typing import Any

import psycopg2
import pytest
from django.db import OperationalError
from django.db.backends.postgresql.base import DatabaseWrapper

from routers.ownership import guard


class Away:
    """A driver's connection whose server has gone: a pooler answers for it, until it is asked."""

    def cursor(self) -> Any:
        raise psycopg2.OperationalError("server closed the connection unexpectedly")


def test_a_server_that_goes_away_before_the_first_statement_is_djangos_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Pages of an outage know Django's errors; the driver's own would be an error of the site."""
    monkeypatch.setattr(guard, "_able", set())
    connection = DatabaseWrapper({"ENGINE": "django.db.backends.postgresql"}, "shard01")
    connection.connection = Away()
    with pytest.raises(OperationalError):
        guard.protect(None, connection)
    assert connection.errors_occurred  # so that Django does not use it again
    connection.connection = None

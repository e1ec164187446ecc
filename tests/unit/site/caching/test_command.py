"""`manage.py cache`."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from routers import account_context, shard_of
from tests.unit.site.caching.redis_server import RedisServer
from tests.unit.site.caching.shelf.models import Book
from tests.unit.site.caching.support import ONE


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("cache", *arguments, stdout=out)
    return out.getvalue()


@pytest.mark.parametrize("what", ["--account", "--database"])
def test_bump_forgets(cached: RedisServer, what: str) -> None:
    with account_context(ONE):
        Book.objects.create(title="old")
        assert Book.objects.get().title == "old"
        with connections[shard_of(ONE)].cursor() as cursor:
            cursor.cursor.execute("UPDATE shelf_book SET title = 'new'")
        assert Book.objects.get().title == "old"
        said = run("bump", what, str(ONE) if what == "--account" else shard_of(ONE))
        assert "is forgotten" in said
        assert Book.objects.get().title == "new"


def test_status(cached: RedisServer) -> None:
    assert run("status").count("in service, epoch") == 3
    run("bump", "--database", "shard01")
    assert "shard01: off: a writer" in run("status")


def test_a_database_that_is_not(cached: RedisServer) -> None:
    with pytest.raises(CommandError, match=r"no database 'shard99'\. There are: default, shard01"):
        run("bump", "--database", "shard99")


def test_without_settings(settings: object) -> None:
    from django.test import override_settings

    with override_settings(CACHING=None), pytest.raises(CommandError, match="no CACHING"):
        run("status")

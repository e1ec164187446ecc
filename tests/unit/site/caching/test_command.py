"""`manage.py cache`."""

import json
import re
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from caching import inventory, totals
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


def test_status_of_redis(cached: RedisServer) -> None:
    assert "Redis: one server\n" in run("status")
    assert f"127.0.0.1:{cached.port}: primary, Redis " in run("status")
    with cached.client as client:
        run_id = client.info("server")["run_id"]
    told = json.loads(run("status", "--json"))
    assert told["databases"]["default"]["in_service"] is True
    assert told["redis"][0]["run"] == run_id[:12]
    with cached.frozen():
        assert f"127.0.0.1:{cached.port}: away: " in run("status")


def test_report(cached: RedisServer) -> None:
    assert "counted anything yet" in run("report")
    with account_context(ONE):
        made = Book.objects.create(title="one")
        for _ in range(4):
            Book.objects.get(pk=made.pk)
    assert totals.push()
    shown = run("report")
    assert re.search(r"shelf\.Book +4 +75\.0% +0 ", shown), shown
    with cached.client as client:
        assert f"{len(client.keys('models:*'))} keys take" in shown
    told = json.loads(run("report", "--json"))
    line = next(one for one in told["lines"] if one["label"] == "shelf.Book")
    assert (line["hits"], line["misses"], line["asked"]) == (3, 1, 4)
    assert line["read_bytes"] > line["written_bytes"] > 0
    gained = 3 * (line["computed_milliseconds"] - line["hit_milliseconds"])
    assert line["saved_milliseconds"] == pytest.approx(gained)
    assert told["memory"]["bytes"] > line["written_bytes"]
    run("report", "--reset")
    assert "counted anything yet" in run("report")


def test_report_without_redis(cached: RedisServer) -> None:
    with cached.away(), pytest.raises(CommandError, match="Redis is away"):
        run("report")


def test_memory_of_many_keys_is_an_estimate_that_says_so(
    cached: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cached.client as client:
        client.mset({f"models:{number}": "x" * 100 for number in range(3000)})
        client.mset({f"another's:{number}": "x" * 1000 for number in range(3000)})
        whole = sum(client.memory_usage(f"models:{number}") for number in range(0, 3000, 100)) * 100
    held = inventory.memory()
    assert held.sampled < 6000
    assert not held.is_whole
    assert whole * 0.8 < held.bytes < whole * 1.2
    assert "an estimate from a sample" in run("report")
    monkeypatch.setattr(inventory, "SAMPLED", 10_000)
    held = inventory.memory()
    assert (held.keys, held.bytes, held.is_whole) == (3000, whole, True)


def test_a_database_that_is_not(cached: RedisServer) -> None:
    with pytest.raises(CommandError, match=r"no database 'shard99'\. There are: default, shard01"):
        run("bump", "--database", "shard99")


def test_without_settings(settings: object) -> None:
    from django.test import override_settings

    with override_settings(CACHING=None), pytest.raises(CommandError, match="no CACHING"):
        run("status")

"""`manage.py shards`, on databases with rows that are committed."""

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from routers import ShardMap, account_context
from routers.catalog import contact
from routers.inspection import audit, largest, status
from routers.inspection.reading import Reader, reader
from routers.models import MapVersion
from routers.shard_map import publish_map, use_map
from routers.shard_map.file import save_map
from tests.unit.conftest import CONFIG
from tests.unit.routers.shop.models import Line, Order

SHARDS = ("shard01", "shard02", "shard03")
EVEN = ShardMap.even(SHARDS)  # accounts 3, 1, 2 …
on_postgresql = pytest.mark.skipif(not CONFIG, reason="SQLite has no server that could be away")


@pytest.fixture(autouse=True)
def databases(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Committed rows: account 1 with 30 orders on shard02, account 2 with 5 on shard03."""
    with django_db_blocker.unblock():
        _empty()
        use_map(publish_map(EVEN, reason="first"))
        for account, orders in ((1, 30), (2, 5)):
            with account_context(account):
                Order.objects.bulk_create(Order(title="A thing") for _ in range(orders))
        contact.made()
        yield
        _empty()
        contact.made()
        connections.close_all()


def _empty() -> None:
    for shard in SHARDS:
        connections[shard].close()
        for table in ("shop_line", "shop_tagging", "shop_order", "shop_tag"):
            execute(shard, f"DELETE FROM {table}")
    MapVersion.objects.all().delete()


def execute(shard: str, sql: str, *parameters: object) -> None:
    with connections[shard].cursor() as cursor:
        cursor.execute(sql, parameters)


def misplace(shard: str, account: int) -> None:
    execute(shard, "INSERT INTO shop_order (account_id, title) VALUES (%s, 'lost')", account)


def run(*arguments: str, status: int = 0) -> str:
    said = io.StringIO()
    if status:
        with pytest.raises(SystemExit) as ended:
            call_command("shards", *arguments, stdout=said)
        assert ended.value.code == status
    else:
        call_command("shards", *arguments, stdout=said)
    return said.getvalue()


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Makes a shard's port lead nowhere."""
    with monkeypatch.context() as patch:
        yield lambda shard: patch.setitem(connections[shard].settings_dict, "PORT", 1)


def test_status_shows_every_shard(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {row["shard"]: row for row in json.loads(run("status", "--json"))}
    assert {shard: (row["accounts"], row["rows"]) for shard, row in rows.items()} == {
        "shard01": (0, 0),
        "shard02": (1, 30),
        "shard03": (1, 5),
    }
    assert sum(row["slots"] for row in rows.values()) == 4096
    assert all(row["rows_are_exact"] and row["unapplied"] == [] for row in rows.values())
    if CONFIG:
        assert all(row["size_bytes"] > 0 and row["connections"] > 0 for row in rows.values())
        assert all(":" in row["host"] and row["version"][0].isdigit() for row in rows.values())


def owned(shard: str, *, status: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("owned", shard, "--json", status=status))
    return found


def test_a_shard_owns_slots_pins_and_the_accounts_with_rows_there() -> None:
    others = ShardMap.even(("shard01", "shard03"))
    assert owned("shard02", status=1)["slots"] == 1365
    publish_map(ShardMap(others.slots, {7: "shard02"}, 1), reason="all but an account")
    found = owned("shard02", status=1)
    assert (found["slots"], found["pins"], found["accounts"]) == (0, 1, 1)
    assert run("owned", "shard02", status=1) == "shard02: 0 slots, 1 pins, rows of 1 accounts.\n"
    publish_map(ShardMap(others.slots, {}, 2), reason="all")
    assert owned("shard02", status=1)["nothing"] is False  # rows that a move left behind
    execute("shard02", "DELETE FROM shop_order")
    assert owned("shard02", status=0)["nothing"] is True


def test_of_a_shard_that_is_not_in_the_settings_the_map_is_told_and_rows_are_not() -> None:
    found = owned("shard09", status=1)
    assert (found["slots"], found["pins"], found["accounts"]) == (0, 0, None)
    assert found["error"] == "SHARDING['SHARDS'] has no shard09"


def test_a_shard_without_tables_has_nobodys_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    introspection = type(connections["shard02"].introspection)
    monkeypatch.setattr(introspection, "table_names", lambda *given: ["django_migrations"])
    assert owned("shard02", status=1)["accounts"] == 0


@on_postgresql
def test_what_a_shard_that_is_away_owns_is_not_known(away: Any) -> None:
    away("shard02")
    found = owned("shard02", status=1)
    assert (found["slots"], found["accounts"]) == (1365, None)
    assert found["error"]


@pytest.mark.parametrize("columns", ["80", "100"])
def test_the_table_is_readable_on_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    lines = run("status").splitlines()
    assert max(map(len, lines)) <= int(columns)
    heads = lines[0].split()
    assert heads == ["shard", "host", "PG", "slots", "accounts", "rows", "size", "conns", "schema"]
    assert [line.split()[0] for line in lines[1:4]] == list(SHARDS)
    assert lines[-1] == "Version 1 of the map."


def test_a_large_table_is_estimated_unless_counting_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(status, "COUNTED_BYTES", -1)
    rows = {row["shard"]: row for row in json.loads(run("status", "--json"))}
    assert rows["shard02"]["rows_are_exact"] is not bool(CONFIG)
    assert rows["shard02"]["rows"] > 0
    if CONFIG:
        assert "~" in run("status")
    exact = {row["shard"]: row for row in json.loads(run("status", "--exact", "--json"))}
    assert (exact["shard02"]["rows"], exact["shard02"]["rows_are_exact"]) == (30, True)


def test_a_migration_that_is_missing_is_named() -> None:
    missing = ("routers", "0001_initial")
    execute("shard02", "DELETE FROM django_migrations WHERE app = %s AND name = %s", *missing)
    try:
        rows = {row["shard"]: row for row in json.loads(run("status", "--json"))}
        assert rows["shard02"]["unapplied"] == ["routers.0001_initial"]
        assert rows["shard01"]["unapplied"] == []
        assert "1 to apply" in run("status")
    finally:
        insert = "INSERT INTO django_migrations (app, name, applied) VALUES (%s, %s, '2026-01-01')"
        execute("shard02", insert, *missing)


@on_postgresql
def test_a_shard_that_is_away_is_shown_and_the_others_answer(away: Any) -> None:
    away("shard01")
    rows = {row["shard"]: row for row in json.loads(run("status", "--json"))}
    assert rows["shard01"]["error"]
    assert rows["shard02"]["rows"] == 30
    said = run("status")
    assert "shard01 is away: " in said
    assert [e["account"] for e in json.loads(run("top", "--json"))["accounts"]] == [1, 2]
    assert list(json.loads(run("top", "--json"))["away"]) == ["shard01"]
    problems = json.loads(run("check", "--json", status=1))
    assert [(p["kind"], p["where"]) for p in problems] == [("away", "shard01")]


def test_where_by_id_and_by_slug() -> None:
    assert run("where", "1") == "shard02 (slot 1)\n"
    assert run("where", "basalt") == "shard03 (slot 2)\n"
    use_map(ShardMap(EVEN.slots, {1: "shard01"}, 5))
    assert run("where", "1") == "shard01 (slot 1, pinned)\n"
    found = json.loads(run("where", "1", "--json"))
    assert found == {"account": 1, "shard": "shard01", "slot": 1, "pinned": True, "version": 5}


@pytest.mark.parametrize("wrong", ["0", "-4", "nobody"])
def test_where_refuses_what_is_no_account(wrong: str) -> None:
    with pytest.raises(CommandError, match="account"):
        call_command("shards", "where", "--", wrong, stdout=io.StringIO())


def test_top_orders_by_rows_size_or_new_rows() -> None:
    loads = json.loads(run("top", "--json"))["accounts"]
    assert [(e["account"], e["shard"], e["rows"], e["new_rows"]) for e in loads] == [
        (1, "shard02", 30, 30),
        (2, "shard03", 5, 5),
    ]
    with account_context(2):
        Line.objects.bulk_create(Line(order=Order.objects.earliest("pk")) for _ in range(40))
    newest = json.loads(run("top", "--by", "new", "--limit", "1", "--json"))["accounts"]
    assert [(e["account"], e["new_rows"]) for e in newest] == [(2, 45)]
    assert len(json.loads(run("top", "--limit", "1", "--json"))["accounts"]) == 1
    assert "account shard" in run("top")


def test_rows_born_before_are_not_new() -> None:
    loads = json.loads(run("top", "--hours", "-1", "--json"))["accounts"]
    assert [(e["account"], e["new_rows"]) for e in loads] == [(1, 0), (2, 0)]


@on_postgresql
def test_of_a_large_table_a_sample_is_scaled_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with account_context(1):
        Order.objects.bulk_create(Order(title="A thing" * 7) for _ in range(20_000))
    monkeypatch.setattr(largest, "COUNTED_BYTES", 200_000)
    loads = json.loads(run("top", "--json"))["accounts"]
    assert loads[0]["account"] == 1
    assert not loads[0]["exact"]
    assert 5_000 < loads[0]["rows"] < 60_000


def test_check_finds_nothing_where_nothing_is_wrong() -> None:
    assert run("check") == "3 shards are as version 1 of the map says.\n"
    assert json.loads(run("check", "--links", "--json")) == []


def test_check_finds_rows_on_another_shard_than_the_maps() -> None:
    misplace("shard03", 1)
    problems = json.loads(run("check", "--json", status=1))
    assert [(p["kind"], p["where"]) for p in problems] == [
        ("misplaced", "shard03"),
        ("twice", "shard02, shard03"),
    ]
    assert "shop_order has rows of account 1, whose shard is shard02" in problems[0]["text"]
    assert "account 1 has rows on shard02, shard03" in run("check", status=1)


def test_check_compares_the_numbers_that_shards_make_keys_with(
    settings: Any,
) -> None:
    found = audit._Found(2, {})
    assert list(audit._number_problems("shard02", found)) == []
    (problem,) = audit._number_problems("shard03", found)
    assert problem.text == "makes keys with the number 2; SHARDING['SHARDS'] says 3"


@on_postgresql
def test_the_number_of_every_shard_is_asked_for(settings: Any) -> None:
    other = {**settings.SHARDING["SHARDS"], "shard02": 9}
    settings.SHARDING = {**settings.SHARDING, "SHARDS": other}
    problems = json.loads(run("check", "--json", status=1))
    assert [(p["kind"], p["where"]) for p in problems] == [("number", "shard02")]


def test_check_compares_the_versions_of_the_map(settings: Any, tmp_path: Any) -> None:
    settings.SHARDING = {**settings.SHARDING, "MAP_FILE": str(tmp_path / "map.json")}
    save_map(ShardMap(EVEN.slots, {}, 4))
    problems = json.loads(run("check", "--json", status=1))
    text = "has version 4 of the map, the catalog 1"
    assert problems == [{"kind": "version", "where": "the copy on disk", "text": text}]


@pytest.mark.skipif(bool(CONFIG), reason="PostgreSQL lets nobody but a superuser make such rows")
def test_links_that_lead_nowhere_or_to_another_account() -> None:
    connection = connections["shard02"]
    with connection.constraint_checks_disabled(), connection.cursor() as cursor:
        cursor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        triggers = [name for (name,) in cursor.fetchall()]
        cursor.execute("BEGIN")
        for name in triggers:
            cursor.execute(f'DROP TRIGGER "{name}"')
        cursor.execute("SELECT min(id) FROM shop_order")
        order = cursor.fetchone()[0]
        insert = "INSERT INTO shop_line (account_id, order_id, amount) VALUES (%s, %s, 1)"
        cursor.executemany(insert, [(1, order), (4, order), (1, 99)])
        problems = list(audit._link_problems(Reader(connection, cursor), Line))
        cursor.execute("ROLLBACK")
    assert [(p.kind, p.text) for p in problems] == [
        ("dangling", "1 shop.Line.order lead nowhere"),
        ("foreign", "1 shop.Line.order lead to another account's rows"),
    ]


@on_postgresql
def test_nothing_is_written_while_reading() -> None:
    with (
        pytest.raises(Exception, match="read-only transaction"),
        reader("shard01") as opened,
    ):
        opened.rows("DELETE FROM shop_order RETURNING id")


def test_init_changes_nothing_where_there_is_a_map() -> None:
    assert run("init") == "The catalog holds version 1 of the map.\n"

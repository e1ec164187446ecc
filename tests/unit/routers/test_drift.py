"""`migrate_shards --check` against schemas that somebody damaged."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.routers.ledgerapp.project import CONFIG, SHARDS, Project, project

ENTRY = "ledgerapp_entry"
Seen = tuple[str, str, str]

# What was done to shard02, and what of it is to be seen: (what, kind, name or part of it).
ON_POSTGRESQL: list[tuple[str, Seen]] = [
    (f"ALTER TABLE {ENTRY} REPLICA IDENTITY DEFAULT", ("different", "replica identity", ENTRY)),
    (f"ALTER TABLE {ENTRY} DROP COLUMN title", ("missing", "column", "title")),
    (f"ALTER TABLE {ENTRY} ADD extra text", ("extra", "column", "extra")),
    (f"ALTER TABLE {ENTRY} ALTER amount TYPE bigint", ("different", "column", "amount")),
    (f"ALTER TABLE {ENTRY} ALTER account_id DROP NOT NULL", ("different", "column", "account_id")),
    (f"ALTER TABLE {ENTRY} ALTER id DROP DEFAULT", ("different", "column", "id")),
    (f"ALTER TABLE {ENTRY} DROP CONSTRAINT ledgerapp_entry_amount",
     ("missing", "constraint", "ledgerapp_entry_amount")),
    ("DO $$ BEGIN EXECUTE (SELECT format('ALTER TABLE %s ALTER CONSTRAINT %s NOT DEFERRABLE', "
     f"conrelid::regclass, conname) FROM pg_constraint WHERE conrelid = '{ENTRY}'::regclass "
     "AND contype = 'f'); END $$", ("different", "constraint", "kind_id")),
    (f"CREATE INDEX mine ON {ENTRY} (amount)", ("extra", "index", "mine")),
    (f"ALTER TABLE {ENTRY} DISABLE TRIGGER USER", ("different", "trigger", "routers_links_")),
    ("CREATE OR REPLACE FUNCTION routers_shard_number() RETURNS bigint LANGUAGE sql IMMUTABLE "
     "PARALLEL SAFE AS 'SELECT 9::bigint'", ("different", "function", "routers_shard_number()")),
    ("CREATE TABLE forgotten (id bigint)", ("extra", "table", "forgotten")),
    ("CREATE VIEW glance AS SELECT 1 AS one", ("extra", "view", "glance")),
]  # fmt: skip
ON_SQLITE: list[tuple[str, Seen]] = [
    (f"ALTER TABLE {ENTRY} ADD extra text", ("extra", "column", "extra")),
    (f"ALTER TABLE {ENTRY} DROP COLUMN kind_id", ("missing", "column", "kind_id")),
    (f"CREATE INDEX mine ON {ENTRY} (amount)", ("extra", "index", "mine")),
    ("CREATE TABLE forgotten (id bigint)", ("extra", "table", "forgotten")),
    ("CREATE VIEW glance AS SELECT 1 AS one", ("extra", "view", "glance")),
]
DAMAGES = ON_POSTGRESQL if CONFIG else ON_SQLITE


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A migrated catalog and three migrated shards, to be copied."""
    with project(tmp_path_factory.mktemp("whole")) as fresh:
        fresh.run()
        yield fresh


@pytest.fixture
def made(tmp_path: Path, whole: Project) -> Iterator[Project]:
    """A copy of them."""
    with project(tmp_path, whole) as fresh:
        yield fresh


@pytest.fixture(scope="module")
def damaged(
    tmp_path_factory: pytest.TempPathFactory, whole: Project
) -> Iterator[list[dict[str, Any]]]:
    """What the check finds where one shard has all the damage at once."""
    with project(tmp_path_factory.mktemp("damaged"), whole) as fresh:
        if not CONFIG:
            (index,) = fresh.query(
                "shard02", "SELECT name FROM sqlite_master WHERE sql LIKE '%INDEX%(\"kind_id\")'"
            )
            fresh.query("shard02", f"DROP INDEX {index[0]}")
        for statement, _ in DAMAGES:
            fresh.query("shard02", statement)
        yield check(fresh)


def check(project: Project, *arguments: str, status: int = 1) -> list[dict[str, Any]]:
    """What the check finds."""
    said = project.run("--check", "--json", *arguments, status=status)
    found: list[dict[str, Any]] = json.loads(said.partition("CommandError")[0])
    return found


def test_fresh_schema_is_as_the_models_ask(made: Project) -> None:
    assert check(made, status=0) == []
    assert "as the models ask." in made.run("--check")


@pytest.mark.parametrize("seen", [seen for _, seen in DAMAGES], ids=lambda seen: "-".join(seen))
def test_damage_is_found(damaged: list[dict[str, Any]], seen: Seen) -> None:
    what, kind, name = seen
    same = [f for f in damaged if (f["what"], f["kind"]) == (what, kind)]
    (found,) = [f for f in same if f["name"] == name] or [f for f in same if name in f["name"]]
    assert found["database"] == "shard02"
    assert found["severity"] == "error"


def test_nothing_else_is_found(damaged: list[dict[str, Any]]) -> None:
    """But for what went with the column: its indexes, its foreign key, its triggers."""
    expected = {seen[:2] for _, seen in DAMAGES} | {("missing", "index"), ("missing", "constraint")}
    assert {(f["what"], f["kind"]) for f in damaged} <= expected
    assert {f["database"] for f in damaged} == {"shard02"}


def test_check_leaves_nothing_behind(made: Project) -> None:
    everything = (
        "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'routers%'"
        if CONFIG
        else "SELECT name FROM sqlite_master WHERE name LIKE 'routers_expected%'"
    )
    check(made, status=0)
    assert made.query("shard01", everything) == []


def test_what_every_shard_has_besides_the_models_is_a_warning(made: Project) -> None:
    made.sql("0002_index", f"CREATE INDEX mine ON {ENTRY} (amount)")
    made.run()
    found = check(made, status=0)
    assert [(f["database"], f["severity"]) for f in found] == [(s, "warning") for s in SHARDS]
    assert "as the models ask, but for 3 warnings" in made.run("--check")

    made.query("shard03", "DROP INDEX mine")
    found = check(made)
    assert [(f["database"], f["severity"]) for f in found] == [
        ("shard01", "error"),
        ("shard02", "error"),
    ]


def test_migrations_that_are_left_are_told_and_those_held_back_are_a_warning(made: Project) -> None:
    made.sql("0002_late", "CREATE TABLE late (id bigint)", phase="after")
    found = check(made)
    assert {(f["what"], f["severity"], f["name"]) for f in found} == {
        ("unapplied", "error", "ledgerapp.0002_late")
    }
    assert len(found) == 4
    found = check(made, "--phase", "before", status=0)
    assert {(f["what"], f["severity"]) for f in found} == {("held back", "warning")}


def test_database_that_is_away_is_told_and_the_others_are_checked(made: Project) -> None:
    made.databases["shard03"] = {**made.databases["shard03"], "NAME": "/nowhere/x", "PORT": 1}
    made.query("shard01", f"CREATE INDEX mine ON {ENTRY} (amount)")
    found = check(made)
    assert [(f["database"], f["what"], f["severity"]) for f in found] == [
        ("shard01", "extra", "error"),
        ("shard03", "unreadable", "error"),
    ]


def test_some_databases_only(made: Project) -> None:
    made.query("shard01", "CREATE TABLE forgotten (id bigint)")
    assert check(made, "--only", "shard02", status=0) == []
    said = made.run("--check", status=1)
    assert "extra table forgotten" in said
    assert "1 differences on shard01" in said

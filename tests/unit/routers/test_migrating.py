"""`migrate_shards` as an operator runs it: in a process of its own, on databases of its own."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.harness import eventually
from tests.unit.routers.ledgerapp.project import CONFIG, SHARDS, Project, project

ON_POSTGRESQL = pytest.mark.skipif(not CONFIG, reason="SQLite has no such locks and time-outs")
DATABASES = ("default", *SHARDS)
TAKEN = "CREATE TABLE taken (id bigint)"


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Project]:
    """Four databases with nothing in them."""
    with project(tmp_path) as fresh:
        yield fresh


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project with the first migration, to be copied."""
    with project(tmp_path_factory.mktemp("first")) as fresh:
        fresh.run()
        yield fresh


@pytest.fixture
def migrated(tmp_path: Path, first: Project) -> Iterator[Project]:
    """Four databases with the first migration."""
    with project(tmp_path, first) as fresh:
        yield fresh


def waiting_for(project: Project, name: str) -> str:
    """Operations of a migration that ends once a file of that name exists."""
    path = str(project.folder / name)
    work = f"while not __import__('os').path.exists({path!r}): time.sleep(0.02)"
    return (
        f"migrations.RunPython(lambda apps, editor: exec({work!r}, {{'time': time}}), "
        f'hints={{"placement": "sharded"}})'
    )


def outcome(project: Project, database: str) -> str | None:
    """What the row says, as it is stored: the newest of that database."""
    sql = (
        "SELECT outcome FROM routers_migrationrecord WHERE database = '{}' ORDER BY id DESC LIMIT 1"
    )
    rows = project.query("default", sql.format(database))
    return rows[0][0] if rows else None


def test_every_database_is_migrated_and_the_first_map_stored(made: Project) -> None:
    said = made.run()
    assert "[4/4]" in said
    assert "Stored version 1" in said
    assert {made.migrations(alias)[0] for alias in DATABASES} == {"0001_initial"}
    rows = made.history()
    assert {row["outcome"] for row in rows.values()} == {"done"}
    assert {row["run"] for row in rows.values()} == {rows["default"]["run"]}
    routers = ["routers.0001_initial", "routers.0002_migration_record", "routers.0003_move"]
    everything = ["ledgerapp.0001_initial", *routers]
    assert {tuple(sorted(row["applied"])) for row in rows.values()} >= {tuple(everything)}
    for alias in DATABASES:
        made.run("--database", alias, "--check", command="migrate")


def test_handlers_of_the_signals_run_as_for_migrate(migrated: Project) -> None:
    """pre_migrate makes the key function, post_migrate the triggers."""
    key = "SELECT count(*) FROM pg_proc WHERE proname = 'routers_next_key'"
    triggers = "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'routers_links_ledgerapp_entry%'"
    if not CONFIG:
        key = "SELECT 1"  # there it lives in the connection
        triggers = "SELECT count(*) FROM sqlite_master WHERE name LIKE 'routers_links_ledgerapp_e%'"
    for shard in SHARDS:
        assert migrated.query(shard, key) == [(1,)]
        assert migrated.query(shard, triggers)[0][0] >= 1


def test_second_run_applies_nothing(migrated: Project) -> None:
    said = migrated.run()
    assert said.count("up to date") == 4
    assert all(row["applied"] == [] for row in migrated.history().values())


def test_canary_that_fails_leaves_the_others_untouched(migrated: Project) -> None:
    migrated.query("shard01", TAKEN)
    migrated.sql("0002_taken", TAKEN)
    said = migrated.run(status=1)
    assert "shard01 is not migrated, at ledgerapp.0002_taken" in said
    assert "since the canary, shard01, failed" in said
    assert "already exists" in said
    assert migrated.migrations("shard02") == migrated.migrations("shard03") == ["0001_initial"]
    assert migrated.history()["shard01"]["outcome"] == "failed"

    said = migrated.run("--canary", "shard02", status=1)
    assert "`manage.py migrate_shards --canary shard02` again" in said
    assert migrated.migrations("shard02") == migrated.migrations("shard03")
    assert migrated.migrations("shard03") == ["0001_initial", "0002_taken"]


def test_shard_that_fails_leaves_the_others_done_and_the_next_run_does_the_rest(
    migrated: Project,
) -> None:
    migrated.query("shard02", TAKEN)
    migrated.sql("0002_taken", TAKEN)
    said = migrated.run(status=1)
    assert "shard02 is not migrated, at ledgerapp.0002_taken" in said
    assert "Done: default, shard01, shard03." in said
    assert "run `manage.py migrate_shards` again" in said
    assert "already exists" in migrated.history()["shard02"]["error"]

    migrated.query("shard02", "DROP TABLE taken")
    said = migrated.run()
    assert said.count("up to date") == 3
    assert migrated.history()["shard02"]["applied"] == ["ledgerapp.0002_taken"]


def test_shard_that_is_away_leaves_the_others_done(migrated: Project) -> None:
    migrated.sql("0002_taken", TAKEN)
    whole = dict(migrated.databases)
    name = {"NAME": "/nowhere/shard03", "PORT": 1}
    migrated.databases["shard03"] = {**whole["shard03"], **name}
    said = migrated.run(status=1)
    assert "shard03 is not migrated: OperationalError" in said
    assert migrated.history()["shard03"]["outcome"] == "failed"
    migrated.databases = whole
    assert migrated.migrations("shard02")[-1] == "0002_taken"
    migrated.run()
    assert migrated.migrations("shard03")[-1] == "0002_taken"


def test_catalog_that_fails_leaves_the_shards_untouched(migrated: Project) -> None:
    migrated.add(
        "0002_bad", 'migrations.RunSQL("SELECT nope", hints={"placement": "global"})', atomic=True
    )
    said = migrated.run(status=1)
    assert "default is not migrated, at ledgerapp.0002_bad" in said
    assert "since the catalog failed: shard01, shard02, shard03" in said
    assert migrated.history()["default"]["outcome"] == "failed"


def test_before_the_deployment_late_migrations_and_what_needs_them_are_held_back(
    migrated: Project,
) -> None:
    migrated.sql("0002_drop", "CREATE TABLE two (id bigint)", phase="after")
    migrated.sql("0003_needs_it", "CREATE TABLE three (id bigint)", after="0002_drop")
    migrated.sql("0003_alone", "CREATE TABLE four (id bigint)")
    migrated.sql("0004_merge", "CREATE TABLE five (id bigint)", after="0003_needs_it")
    text = (migrated.folder / "history" / "0004_merge.py").read_text()
    merge = text.replace("dependencies = [", 'dependencies = [("ledgerapp", "0003_alone"), ')
    (migrated.folder / "history" / "0004_merge.py").write_text(merge)

    said = migrated.run("--phase", "before")
    assert "1 migrations applied, 3 held back" in said
    assert all(migrated.migrations(a) == ["0001_initial", "0003_alone"] for a in DATABASES)
    assert migrated.history()["shard01"]["phase"] == "before"

    migrated.run("--phase", "after")
    assert all(len(migrated.migrations(alias)) == 5 for alias in DATABASES)


def test_unknown_phase_is_refused_before_anything_is_done(made: Project) -> None:
    made.sql("0002_later", "SELECT 1", phase="later")
    assert "ledgerapp.0002_later has phase = 'later'" in made.run(status=1)
    made.remove("0002_later")
    assert "has no ledger yet" in made.run("--history", status=1)


def test_two_last_migrations_are_refused_before_anything_is_done(migrated: Project) -> None:
    migrated.sql("0002_one", TAKEN)
    migrated.sql("0002_other", "SELECT 1")
    assert "makemigrations --merge" in migrated.run(status=1)
    assert migrated.migrations("default") == ["0001_initial"]


def test_squashed_migration_where_none_some_and_all_of_its_parts_are_applied(
    migrated: Project,
) -> None:
    migrated.sql("0002_two", "CREATE TABLE two (id bigint)")
    migrated.run("--only", "shard02")
    migrated.sql("0003_three", "CREATE TABLE three (id bigint)", after="0002_two")
    migrated.run("--only", "shard03")
    operations = ", ".join(
        f'migrations.RunSQL("CREATE TABLE {table} (id bigint)", hints={{"placement": "sharded"}})'
        for table in ("two", "three")
    )
    parts = [("ledgerapp", "0002_two"), ("ledgerapp", "0003_three")]
    migrated.add("0002_squashed", operations, replaces=parts)
    migrated.sql("0004_four", "CREATE TABLE four (id bigint)", after="0002_squashed")
    migrated.run()
    applied = {row["database"]: row["applied"] for row in migrated.history().values()}
    assert applied["shard01"] == ["ledgerapp.0002_squashed", "ledgerapp.0004_four"]
    assert applied["shard02"] == ["ledgerapp.0003_three", "ledgerapp.0004_four"]
    assert applied["shard03"] == ["ledgerapp.0004_four"]
    for alias in SHARDS:
        assert migrated.query(alias, "SELECT count(*) FROM three") == [(0,)]
        assert "0002_squashed" in migrated.migrations(alias)
    assert migrated.run().count("up to date") == 4


def test_only_some_databases(migrated: Project) -> None:
    migrated.sql("0002_taken", TAKEN)
    migrated.run("--only", "shard03", "--only", "shard02")
    assert migrated.migrations("shard02") == migrated.migrations("shard03")
    assert migrated.migrations("default") == migrated.migrations("shard01") == ["0001_initial"]
    assert "shard09: no such database" in migrated.run("--only", "shard09", status=1)
    said = migrated.run("--only", "shard03", "--canary", "shard01", status=1)
    assert "--canary shard01 is no shard of this run" in said


def test_shards_before_the_catalog_are_refused(made: Project) -> None:
    assert "without --only" in made.run("--only", "shard03", status=1)


def test_killed_run_is_seen_and_the_next_one_finishes(migrated: Project) -> None:
    migrated.add("0002_long", waiting_for(migrated, "go"))
    process = migrated.start()
    eventually(lambda: outcome(migrated, "shard01") == "running")
    assert migrated.history()["shard01"]["outcome"] == "running"
    migrated.kill(process)
    eventually(lambda: migrated.history()["shard01"]["outcome"] == "interrupted")
    assert "interrupted" in migrated.run("--history")

    (migrated.folder / "go").touch()
    migrated.run()
    assert migrated.history()["shard01"]["outcome"] == "done"
    stored = "SELECT count(*) FROM routers_migrationrecord WHERE outcome = 'interrupted'"
    assert migrated.query("default", stored) == [(1,)]
    assert all(migrated.migrations(alias)[-1] == "0002_long" for alias in SHARDS)


def test_ctrl_c_finishes_what_is_in_hand_and_says_what_is_left(migrated: Project) -> None:
    migrated.add("0002_long", waiting_for(migrated, "go"))
    (migrated.folder / "go").touch()
    migrated.run("--only", "shard01")
    (migrated.folder / "go").unlink()
    process = migrated.start("--jobs", "1")
    eventually(lambda: outcome(migrated, "shard02") == "running")
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    seen = next(line for line in process.stdout if "stopping" in line)
    assert "nothing else begun" in seen
    (migrated.folder / "go").touch()
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "because of Ctrl-C: shard03." in said
    assert migrated.migrations("shard02")[-1] == "0002_long"
    assert migrated.migrations("shard03") == ["0001_initial"]
    migrated.run()
    assert migrated.migrations("shard03")[-1] == "0002_long"


def test_migration_without_a_transaction_is_not_tried_again(migrated: Project) -> None:
    migrated.sql("0002_halves", "SELECT nope", atomic=False)
    said = migrated.run(status=1)
    assert "0002_halves is not atomic, so part of it may have been done" in said


@ON_POSTGRESQL
def test_two_runs_never_migrate_one_database_together(migrated: Project) -> None:
    migrated.add("0002_long", waiting_for(migrated, "go"))
    first = migrated.start()
    eventually(lambda: outcome(migrated, "shard01") == "running" and lock_holders(migrated))
    (pid,) = lock_holders(migrated)
    said = migrated.run("--only", "shard01", "--wait", "0.2", status=1)
    assert f"PostgreSQL's process {pid}, 'migrate_shards " in said
    assert f"pg_terminate_backend({pid})" in said

    second = migrated.start()
    migrated.kill(first)  # its connection ends, and with it the lock
    eventually(lambda: lock_holders(migrated) not in ([], [pid]))
    (migrated.folder / "go").touch()
    said, _ = second.communicate(timeout=60)
    assert second.returncode == 0, said


def lock_holders(project: Project) -> list[int]:
    """The backends that hold an advisory lock in the first shard."""
    sql = (
        "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND database ="
        " (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    return [pid for (pid,) in project.query("shard01", sql)]


@ON_POSTGRESQL
def test_killed_while_a_statement_runs_the_lock_is_free_before_its_end(migrated: Project) -> None:
    migrated.sql("0002_long", "SELECT pg_sleep(300)")
    process = migrated.start()
    eventually(lambda: outcome(migrated, "shard01") == "running" and lock_holders(migrated))
    migrated.kill(process)
    eventually(lambda: not lock_holders(migrated))


@ON_POSTGRESQL
def test_lock_that_is_not_had_is_tried_for_again(migrated: Project) -> None:
    migrated.sql("0002_column", "ALTER TABLE ledgerapp_entry ADD extra bigint")
    with migrated.connect("shard01") as reader:
        reader.autocommit = False
        reader.cursor().execute("SELECT * FROM ledgerapp_entry")
        process = migrated.start("--lock-timeout", "0.05")
        assert process.stdout is not None
        line = next(line for line in process.stdout if "a lock was not had" in line)
        assert line.startswith("shard01: ledgerapp.0002_column: a lock was not had within 0.05 s")
        # Others read the table meanwhile: nobody queues behind the migration for long.
        assert migrated.query("shard01", "SELECT count(*) FROM ledgerapp_entry") == [(0,)]
        reader.rollback()
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said


@ON_POSTGRESQL
def test_statement_that_takes_too_long_is_ended(migrated: Project) -> None:
    migrated.sql("0002_long", "SELECT pg_sleep(300)")
    said = migrated.run("--statement-timeout", "2", status=1)
    assert "shard01 is not migrated, at ledgerapp.0002_long" in said
    assert "statement timeout" in said


@ON_POSTGRESQL
def test_migration_that_closes_its_connection_is_told(migrated: Project) -> None:
    migrated.add(
        "0002_closes",
        "migrations.RunPython(lambda apps, editor: editor.connection.close(), "
        'hints={"placement": "sharded"})',
        atomic=False,
    )
    said = migrated.run(status=1)
    assert "ledgerapp.0002_closes closed its connection to shard01" in said


@ON_POSTGRESQL
def test_pooler_is_refused(migrated: Project) -> None:
    given = json.loads(Path(str(CONFIG)).read_text())["databases"]["default"]
    fields = {key.upper(): given[key] for key in ("host", "port", "name", "user", "password")}
    migrated.databases["default"] = {**migrated.databases["default"], **fields}
    said = migrated.run(status=1)
    assert f"default is reached through a pooler (127.0.0.1:{given['port']})" in said


@ON_POSTGRESQL
def test_pooler_before_a_shard_is_refused_and_the_others_are_done(migrated: Project) -> None:
    migrated.sql("0002_taken", TAKEN)
    given = json.loads(Path(str(CONFIG)).read_text())["databases"]["shard02"]
    fields = {key.upper(): given[key] for key in ("host", "port", "name", "user", "password")}
    migrated.databases["shard02"] = {**migrated.databases["shard02"], **fields}
    assert "shard02 is reached through a pooler" in migrated.run(status=1)
    assert migrated.migrations("shard03")[-1] == "0002_taken"

"""Reference models on real servers: every commit arrives, and whatever breaks is found and mended.

The tables are the site's tasks and countries; the rows of these tests are countries.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest

from tests.cluster.harness import Cluster, eventually
from tests.variants import CHECKOUT, Variant

SHARDS = ("shard01", "shard02", "shard03", "shard04")
COPIES_BY_HAND = "SET session_replication_role = replica"  # a superuser who knows better
NAME = "SELECT name FROM tasks_country WHERE code = %s"
STORE = (
    "INSERT INTO tasks_country (code, name) VALUES (%s, %s)"
    " ON CONFLICT (code) DO UPDATE SET name = excluded.name"
)
SLOTS = "SELECT slot_name FROM pg_replication_slots ORDER BY 1"
SUBSCRIPTIONS = "SELECT subname FROM pg_subscription"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """The servers with tables, a publication and four subscriptions. With fsync: we kill them."""
    variant = Variant("reference", shift=14_500, fsync=True)
    made = Cluster(variant.describe(), variant.root)
    made.run("clean", "--yes")
    made.up()
    manage(made, "owner", "migrate_shards")
    manage(made, "owner", "reference", "publish")
    manage(made, "admin", "reference", "subscribe")
    manage(made, "owner", "load_tasks")
    yield made
    made.run("down")


@pytest.fixture(autouse=True)
def _equal_afterwards(cluster: Cluster) -> Iterator[None]:
    """Whatever a test broke is mended, and every shard subscribed."""
    yield
    assert "shard04: equal" in manage(cluster, "owner", "reference", "check")
    assert ask(cluster, "default", SLOTS) == [(f"routers_reference_{s}",) for s in SHARDS]


def environment(cluster: Cluster, role: str) -> dict[str, str]:
    config = cluster.root / ("site.json" if role == "app" else f"site-{role}.json")
    return {"FULCRUM_CONFIG": str(config), "PATH": os.defpath}


def manage(cluster: Cluster, role: str, *command: str, status: int = 0) -> str:
    """Run manage.py as `app`, `owner` or `admin`; what it printed."""
    done = subprocess.run(
        [sys.executable, "manage.py", *command],
        cwd=CHECKOUT / "site",
        env=environment(cluster, role),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    said = done.stdout + done.stderr
    assert done.returncode == status, said
    return said


@contextlib.contextmanager
def cursor(cluster: Cluster, alias: str, role: str = "owner") -> Iterator[Any]:
    """A cursor in autocommit, past the pooler but for `app`."""
    login = {"user": "postgres", "password": cluster.secret("superuser")} if role == "admin" else {}
    connection = cluster.connect(alias, "app" if role == "app" else "owner", **login)
    with contextlib.closing(connection), connection.cursor() as made:
        yield made


def ask(cluster: Cluster, alias: str, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    with cursor(cluster, alias) as asking:
        asking.execute(sql, values)
        return list(asking.fetchall())


def store(cluster: Cluster, code: str, name: str) -> None:
    """A country in the catalog, as the application writes it."""
    with cursor(cluster, "default", "app") as writing:
        writing.execute(STORE, [code, name])


def by_hand(cluster: Cluster, shard: str, sql: str) -> None:
    """Past the guard on a copy."""
    with cursor(cluster, shard, "admin") as writing:
        writing.execute(COPIES_BY_HAND)
        writing.execute(sql)


def wait_for(cluster: Cluster, code: str, name: str) -> None:
    for shard in SHARDS:
        eventually(lambda shard=shard: ask(cluster, shard, NAME, code) == [(name,)])


def test_a_row_written_in_the_catalog_arrives_on_every_shard(cluster: Cluster) -> None:
    store(cluster, "QA", "Carried")
    wait_for(cluster, "QA", "Carried")
    with cursor(cluster, "default") as writing:
        writing.execute("DELETE FROM tasks_country WHERE code = 'QA'")
    for shard in SHARDS:
        eventually(lambda shard=shard: ask(cluster, shard, NAME, "QA") == [])


def test_waiting_returns_when_every_shard_has_it(cluster: Cluster) -> None:
    code = """
from tasks.models import Country
from routers.reference.carry import wait_for_references
for n in range(20):
    Country.objects.update_or_create(code="QB", defaults={"name": str(n)})
    wait_for_references()
    for shard in ("shard01", "shard02", "shard03", "shard04"):
        assert Country.objects.using(shard).get(code="QB").name == str(n), (n, shard)
"""
    manage(cluster, "app", "shell", "-c", code)


@pytest.mark.parametrize("role", ["app", "owner"])
def test_a_copy_is_not_written_by_anybody_else(cluster: Cluster, role: str) -> None:
    for sql in (
        "UPDATE tasks_country SET name = 'mine'",
        "DELETE FROM tasks_country",
        "INSERT INTO tasks_country VALUES ('QC', 'mine')",
    ):
        refused = pytest.raises(psycopg2.errors.InsufficientPrivilege, match="is a copy")
        with cursor(cluster, "shard02", role) as writing, refused:
            writing.execute(sql)


def test_again_nothing_changes(cluster: Cluster) -> None:
    assert "nothing new" in manage(cluster, "owner", "reference", "publish")
    assert manage(cluster, "admin", "reference", "subscribe").count("up to date") == 4


def test_subscribing_needs_a_superuser(cluster: Cluster) -> None:
    said = manage(cluster, "owner", "reference", "subscribe", "shard01", status=1)
    assert "fulcrum_owner may not subscribe shard01: that takes a superuser" in said


def test_what_was_changed_by_hand_is_found_and_mended(cluster: Cluster) -> None:
    by_hand(cluster, "shard03", "UPDATE tasks_country SET name = 'wrong' WHERE code = 'FR'")
    by_hand(cluster, "shard03", "DELETE FROM tasks_country WHERE code = 'DE'")
    by_hand(cluster, "shard03", "INSERT INTO tasks_country VALUES ('QD', 'too many')")
    said = manage(cluster, "owner", "reference", "check", status=1)
    line = "shard03 tasks.Country: 1 missing: DE; 1 extra: QD; 1 changed: FR"
    assert line in said
    assert "shard01: equal" in said
    assert "`manage.py reference repair shard03`" in said
    found = manage(cluster, "app", "reference", "check", "shard03", "--json", status=1)
    verdict = json.loads(found.splitlines()[0])[0]
    assert verdict["differences"][0]["changed"] == ["FR"]
    assert "3 tasks.Country" in manage(cluster, "admin", "reference", "repair", "shard03")
    store(cluster, "FR", "France")
    wait_for(cluster, "FR", "France")


def test_a_row_of_a_shards_own_gives_way_to_the_catalogs(cluster: Cluster) -> None:
    by_hand(cluster, "shard02", "INSERT INTO tasks_country VALUES ('QE', 'in the way')")
    store(cluster, "QE", "Carried")
    wait_for(cluster, "QE", "Carried")


def test_replication_that_cannot_go_on_is_found_and_mended(cluster: Cluster) -> None:
    by_hand(cluster, "shard02", "UPDATE tasks_task SET slug = 'taken' WHERE slug = 'leader'")
    columns = "statement, example_input, example_output, cases, points, minutes, difficulty"
    with cursor(cluster, "default", "app") as writing:
        writing.execute(
            f"INSERT INTO tasks_task (slug, title, {columns})"
            f" SELECT 'taken', 'Taken', {columns} FROM tasks_task WHERE slug = 'leader'"
        )
    said = manage(cluster, "owner", "reference", "check", "--timeout", "2", status=1)
    assert "shard02 tasks.Task: 1 missing: " in said
    assert "have not received what the catalog holds: shard02" in said
    status = json.loads(manage(cluster, "owner", "reference", "status", "--json"))
    assert "it cannot apply" in status[1]["problem"]
    manage(cluster, "admin", "reference", "repair", "shard02", "--timeout", "2")
    store(cluster, "QE", "Carried again")
    wait_for(cluster, "QE", "Carried again")
    with cursor(cluster, "default", "app") as writing:
        writing.execute("DELETE FROM tasks_task WHERE slug = 'taken'")


def test_a_row_that_comes_into_use_while_it_is_deleted_stays_there(cluster: Cluster) -> None:
    store(cluster, "QF", "Used")
    wait_for(cluster, "QF", "Used")
    with cursor(cluster, "shard01", "admin") as using:
        using.execute(COPIES_BY_HAND)
        using.execute("BEGIN")
        using.execute("SELECT FROM tasks_country WHERE code = 'QF' FOR KEY SHARE")  # a foreign key
        using.execute(
            "INSERT INTO assessments_testsession (id, account_id, code, test_id, candidate_id,"
            " country_id, status, created_at, maximum)"
            " VALUES (1, 4096, 'x', 1, 1, 'QF', 'invited', now(), 0)"
        )
        with cursor(cluster, "default", "app") as writing:
            writing.execute("DELETE FROM tasks_country WHERE code = 'QF'")
        eventually(lambda: ask(cluster, "shard02", NAME, "QF") == [])
        using.execute("COMMIT")
    said = manage(cluster, "owner", "reference", "check", status=1)
    assert "shard01 tasks.Country: 1 extra: QF" in said
    said = manage(cluster, "admin", "reference", "repair", "shard01", status=1)
    assert "shard01 refers to a reference row that the catalog has not" in said
    store(cluster, "QF", "Stored again")
    wait_for(cluster, "QF", "Stored again")
    code = """
from django.db.models import ProtectedError
from tasks.models import Country
try:
    Country.objects.get(code="QF").delete()
except ProtectedError as error:
    print(error.args[0])
"""
    said = manage(cluster, "app", "shell", "-c", code)
    assert "tasks.Country is in use on shard01: 1 of assessments.TestSession.country" in said
    by_hand(cluster, "shard01", "DELETE FROM assessments_testsession WHERE id = 1")


@pytest.mark.parametrize("killed", ["default", "shard04"])
def test_replication_goes_on_after_a_kill(cluster: Cluster, killed: str) -> None:
    pid = cluster.kill(killed)
    if killed != "default":
        store(cluster, "QG", "written while one was away")
    cluster.wait_for_another(killed, pid)
    store(cluster, "QG", f"after {killed}")
    wait_for(cluster, "QG", f"after {killed}")
    manage(
        cluster,
        "app",
        "shell",
        "-c",
        "from routers.reference.carry import *; wait_for_references()",
    )


@pytest.mark.parametrize("seconds", [0.45, 0.5, 0.55, 0.6, 0.65, 0.7])
def test_subscribing_killed_at_any_instant_and_run_again(cluster: Cluster, seconds: float) -> None:
    manage(cluster, "admin", "reference", "unsubscribe", *SHARDS)
    by_hand(cluster, "shard01", "UPDATE tasks_country SET name = 'old' WHERE code = 'FR'")
    command = [sys.executable, "manage.py", "reference", "subscribe"]
    process = subprocess.Popen(
        command, cwd=CHECKOUT / "site", env=environment(cluster, "admin"), stdout=subprocess.DEVNULL
    )
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=seconds)
    process.kill()
    process.wait()
    store(cluster, "QH", f"written in between {seconds}")
    manage(cluster, "admin", "reference", "subscribe")
    store(cluster, "QI", f"written afterwards {seconds}")
    wait_for(cluster, "QI", f"written afterwards {seconds}")


def test_an_old_transaction_is_waited_for_so_long_and_named(cluster: Cluster) -> None:
    manage(cluster, "admin", "reference", "unsubscribe", "shard01")
    with cursor(cluster, "default") as old:
        old.execute("BEGIN; CREATE TABLE unfinished (id int)")
        said = manage(
            cluster, "admin", "reference", "subscribe", "shard01", "--timeout", "1", status=1
        )
        assert "waits for transactions that began before it" in said
        assert "of fulcrum_owner since" in said
        store(cluster, "QJ", "writers do not wait")
        assert ("routers_reference_shard01",) not in ask(cluster, "default", SLOTS)
        old.execute("ROLLBACK")
    manage(cluster, "admin", "reference", "subscribe", "shard01")


def test_a_shard_that_leaves_keeps_its_rows_and_no_slot(cluster: Cluster) -> None:
    manage(cluster, "admin", "reference", "unsubscribe", "shard04")
    assert len(ask(cluster, "default", SLOTS)) == 3
    assert ask(cluster, "shard04", SUBSCRIPTIONS) == []
    assert ask(cluster, "shard04", NAME, "FR") == [("France",)]
    said = manage(cluster, "owner", "reference", "status", "--json")
    row = {row["shard"]: row for row in json.loads(said)}["shard04"]
    assert row["problem"] == "not subscribed: manage.py reference subscribe"
    manage(cluster, "admin", "reference", "subscribe", "shard04")


def test_a_slot_that_is_gone_is_replaced(cluster: Cluster) -> None:
    said = manage(
        cluster,
        *("admin", "reference", "unsubscribe", "shard04", "--lost", "--timeout", "1"),
        status=1,
    )
    assert "The slot routers_reference_shard04 is in use by pid" in said
    with cursor(cluster, "shard04", "admin") as writing:
        writing.execute("ALTER SUBSCRIPTION routers_reference_shard04 DISABLE")
    manage(cluster, "admin", "reference", "unsubscribe", "shard04", "--lost")
    store(cluster, "QK", "while it was away")
    assert "subscribed to 2 tables" in manage(cluster, "admin", "reference", "subscribe", "shard04")
    wait_for(cluster, "QK", "while it was away")


def test_a_table_that_comes_later_is_copied_and_carried(cluster: Cluster) -> None:
    with cursor(cluster, "default") as writing:
        writing.execute("ALTER PUBLICATION routers_reference DROP TABLE tasks_country")
    assert manage(cluster, "admin", "reference", "subscribe").count("tables: tasks_task") == 4
    store(cluster, "QN", "not carried yet")
    assert "+ tasks_country." in manage(cluster, "owner", "reference", "publish")
    said = manage(cluster, "admin", "reference", "subscribe")
    assert said.count("tables: tasks_country, tasks_task") == 4
    assert ask(cluster, "shard03", NAME, "QN") == [("not carried yet",)]
    store(cluster, "QN", "carried")
    wait_for(cluster, "QN", "carried")


def test_another_address_of_the_catalog_is_taken_over(cluster: Cluster) -> None:
    with cursor(cluster, "shard02", "admin") as writing:
        name = "SUBSCRIPTION routers_reference_shard02"
        writing.execute(f"ALTER {name} CONNECTION 'host=127.0.0.1 port=1 dbname=nowhere'")
        writing.execute(f"COMMENT ON {name} IS 'before'")
    store(cluster, "QO", "by the new address")
    said = manage(cluster, "admin", "reference", "subscribe")
    assert "shard02: the catalog's address and password set" in said
    assert said.count("up to date") == 3
    wait_for(cluster, "QO", "by the new address")


def test_a_check_under_writes_does_not_cry_wolf(cluster: Cluster) -> None:
    stop = threading.Event()

    def write() -> None:
        with cursor(cluster, "default", "app") as writing:
            number = 0
            while not stop.is_set():
                number += 1
                writing.execute(STORE, ["QL", str(number)])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(5):
            manage(cluster, "owner", "reference", "check")
    finally:
        stop.set()
        writer.join()


def test_time_from_a_commit_to_all_shards(cluster: Cluster) -> None:
    """Printed, not judged."""
    times = []
    with contextlib.ExitStack() as stack:
        writing = stack.enter_context(cursor(cluster, "default", "app"))
        readers = [stack.enter_context(cursor(cluster, shard)) for shard in SHARDS]
        for number in range(50):
            writing.execute(STORE, ["QM", str(number)])
            committed = time.monotonic()
            for reading in readers:
                while reading.execute(NAME, ["QM"]) or reading.fetchall() != [(str(number),)]:
                    assert time.monotonic() < committed + 60
            times.append(1000 * (time.monotonic() - committed))
    times.sort()
    print(f"commit to 4 shards: median {times[25]:.1f} ms, worst {times[-1]:.1f} ms")

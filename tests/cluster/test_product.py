"""The whole site on real servers: where rows are, who reaches PostgreSQL, what a crash costs."""

import contextlib
import json
import re
import select
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from tests.bench.catalog import frozen
from tests.cluster.harness import Cluster, eventually
from tests.variants import CHECKOUT, Variant
from tests.visitor import DEMO_EMAIL, Visitor
from tests.writer import Writer

SHARDS = ("shard01", "shard02", "shard03", "shard04")
KILLED = ("default", "a shard", "pooler", "cache", "broker", "web", "worker", "beat")
TABLES = ("test", "testtask", "candidate", "testsession", "answer")
CLIENTS = "SELECT client_port FROM pg_stat_activity WHERE usename = 'fulcrum_app'"


@pytest.fixture(scope="module")
def product() -> Iterator[Cluster]:
    """All that `make up` starts, on other ports; with fsync: what is acknowledged must stay."""
    variant = Variant("product", shift=5_000, fsync=True)
    cluster = Cluster(variant.describe(), variant.root)
    cluster.run("up")
    yield cluster
    cluster.run("down")


def url(product: Cluster) -> str:
    return str(product.config()["public_url"])


def recruiter(product: Cluster) -> Visitor:
    return Visitor(url(product)).log_in(DEMO_EMAIL, product.secret("demo_password"))


def ask(product: Cluster, alias: str, sql: str, **login: str) -> list[tuple[Any, ...]]:
    """Ask a PostgreSQL directly, past the pooler, as its owner or by another login."""
    connection = product.connect(alias, "owner", **login)
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute(sql)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows


def accounts(product: Cluster) -> dict[str, int]:
    """Slug → id."""
    return dict(ask(product, "default", "SELECT slug, id FROM accounts_account ORDER BY id"))


def shard_of(product: Cluster, account: int) -> str:
    """By the command that an operator would use."""
    environment = {"FULCRUM_CONFIG": str(product.root / "site.json"), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "manage.py", "shards", "where", str(account)]
    done = subprocess.run(
        command, cwd=CHECKOUT / "site", env=environment, check=True, capture_output=True, text=True
    )
    return done.stdout.split()[0]


def test_session_from_invitation_to_judged_report(product: Cluster) -> None:
    visitor = recruiter(product)
    slug = next(iter(accounts(product)))
    code = visitor.invite(slug, visitor.first_test(slug), "Ada Lovelace", "ada@example.org")
    Visitor(url(product)).sit(slug, code)
    report = visitor.report(slug, code)
    assert re.search(r"300\s+out of\s+300\s+points", re.sub(r"<[^>]+>", " ", report))


def test_a_visitor_who_has_waited_is_answered(product: Cluster) -> None:
    """The server closes a connection that is idle; nobody who comes back is to notice."""
    visitor = Visitor(url(product))
    visitor.page("/login/")
    closed, _, _ = select.select([visitor.connection.sock], [], [], visitor.connection.timeout)
    assert closed
    visitor.page("/login/")


def test_an_accounts_rows_are_on_its_shard_and_no_other(product: Cluster) -> None:
    found: dict[int, set[str]] = defaultdict(set)
    for shard in SHARDS:
        for table in TABLES:
            rows = ask(product, shard, f"SELECT DISTINCT account_id FROM assessments_{table}")
            for (account,) in rows:
                found[account].add(shard)
    assert set(found) == set(accounts(product).values())
    assert {len(shards) for shards in found.values()} == {1}
    assert dict(found) == {account: {shard_of(product, account)} for account in found}
    assert ask(product, "default", "SELECT to_regclass('assessments_answer')") == [(None,)]


def test_the_site_reaches_postgresql_through_the_pooler_only(product: Cluster) -> None:
    """Every connection of the application's role is one that the pooler holds."""
    visitor = recruiter(product)
    for slug in list(accounts(product))[:3]:
        visitor.page(f"/a/{slug}/")
    with contextlib.closing(product.pooler()) as console, console.cursor() as cursor:
        cursor.execute("SHOW SERVERS")
        names = [column.name for column in cursor.description]
        held = {(row[names.index("database")], row[names.index("local_port")]) for row in cursor}
        cursor.execute("SHOW POOLS")
        names = [column.name for column in cursor.description]
        modes = {(r[names.index("user")], r[names.index("pool_mode")]) for r in cursor}
    assert ("fulcrum_app", "transaction") in modes
    seen = set()
    monitor = {"user": "fulcrum_monitor", "password": product.secret("monitor")}
    for alias in ("default", *SHARDS):
        clients = ask(product, alias, CLIENTS, **monitor)
        name = product.config()["databases"][alias]["name"]
        seen |= {(name, port) for (port,) in clients}
    assert seen
    assert seen <= held


@pytest.fixture
def writers(product: Cluster) -> Iterator[dict[str, Writer]]:
    """Two recruiters on different shards, writing all the time: shard → writer."""
    found: dict[str, Writer] = {}
    for slug, account in list(accounts(product).items())[:2]:
        found[shard_of(product, account)] = Writer(recruiter(product), slug)
    assert len(found) == 2
    for writer in found.values():
        eventually(lambda writer=writer: len(writer.acknowledged) > 3)
    yield found
    for writer in found.values():
        writer.stop()


@pytest.mark.parametrize("name", KILLED)
def test_a_killed_process_comes_back_and_loses_nothing(
    product: Cluster, writers: dict[str, Writer], name: str
) -> None:
    if name == "a shard":
        name = next(iter(writers))  # one that is written to
    product.wait_for_another(name, product.kill(name))
    for writer in writers.values():
        before = len(writer.acknowledged)
        eventually(lambda w=writer, b=before: len(w.acknowledged) > b + 3)
    for shard, writer in writers.items():
        writer.stop()
        stored = ask(product, shard, "SELECT code FROM assessments_testsession")
        assert set(writer.acknowledged) <= {code for (code,) in stored}
        assert {answer.status for answer in writer.refused} <= {503}
        assert writer.unanswered == 0 or name == "web"
    if name in writers:
        bystander = next(w for shard, w in writers.items() if shard != name)
        assert bystander.refused == []
        assert all(name in answer.text for answer in writers[name].refused)


def test_a_session_finished_while_the_broker_is_dead_is_judged(product: Cluster) -> None:
    visitor = recruiter(product)
    slug = next(iter(accounts(product)))
    code = visitor.invite(slug, visitor.first_test(slug), "Bo", "bo@example.org")
    pid = product.kill("broker")
    Visitor(url(product)).sit(slug, code)
    product.wait_for_another("broker", pid)
    assert "Judged" in visitor.report(slug, code)


def test_up_again_changes_nothing(product: Cluster) -> None:
    pids, files = product.pids(), product.files()
    product.run("up")
    assert product.pids() == pids
    assert product.files() == files


def test_status_counts_accounts_and_rows(product: Cluster) -> None:
    rows = {row["name"]: row for row in json.loads(product.run("status", "--json"))}
    assert sum(rows[shard]["accounts"] for shard in SHARDS) == len(accounts(product))
    assert all(rows[shard]["rows"] > 0 for shard in SHARDS)


def test_a_leaderboard_is_counted_without_a_frozen_shard(product: Cluster) -> None:
    """Viewers see the former one meanwhile, none waits; it says which shard is missing."""
    page, viewer = "/contests/open-week/", Visitor(url(product))
    eventually(lambda: viewer.get(page).status == 200)
    eventually(lambda: "Counted without" not in viewer.page(page))
    with frozen(product.root, "shard03"):
        eventually(lambda: "Counted without shard03" in viewer.page(page))
    eventually(lambda: "Counted without" not in viewer.page(page))


def test_a_start_is_on_everybodys_map(product: Cluster) -> None:
    visitor, candidate = recruiter(product), Visitor(url(product))
    slug = next(iter(accounts(product)))
    code = visitor.invite(slug, visitor.first_test(slug), "Mara Map", "mara@example.org")
    home = f"/c/{slug}/{code}/"
    candidate.page(home)
    assert candidate.post(f"{home}start/", accept="on", country="NZ").status == 302

    def is_shown() -> bool:
        shown = json.loads(Visitor(url(product)).page("/starts.json"))
        names = {start["name"] for start in shown["starts"]}
        return "New Zealand" in names and bool(shown["total"])

    eventually(is_shown)

"""The console's pages: who may see them, what they say, what they cost, with anything away."""

import re
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connections
from django.test import Client
from django.urls import reverse

from accounts.models import Account, User
from console import busiest, databases, history, live, monitors, slots, views
from console.kept import Kept
from console.runbooks import chapters
from routers import SLOTS, ShardMap, account_context
from routers.conf import settings as sharding
from routers.health import readiness
from routers.inspection.reading import Reader
from routers.shard_map import use_map
from tests.unit.conftest import CONFIG
from tests.unit.site.console_prometheus import (
    PATIENCE_SECONDS,
    Prometheus,
    alert,
    certificates,
    served,
)
from tests.unit.site.pages_support import counted_queries, log_in, text_of

pytestmark = pytest.mark.django_db(databases="__all__")
PAGES = ["/console/", "/console/parts/live/", "/console/parts/placed/", "/console/runbooks/"]


def forget() -> None:
    """Nothing that was found out for another test is shown."""
    cache.clear()
    for kept in (*views.PARTS.values(), live._accounts, history._kept):
        kept.forget()
    readiness._Kept.report = None
    databases._last = {}
    busiest._own.clear()


@pytest.fixture(autouse=True)
def anew(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is counted in a thread: it would not see the test's rows."""
    monkeypatch.setattr(busiest, "begin", lambda: None)
    monkeypatch.setattr(databases, "SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr(databases, "POOLER_SECONDS", PATIENCE_SECONDS)
    forget()
    yield
    forget()


@pytest.fixture
def staff(client: Client, account: Account) -> Client:
    client.force_login(User.objects.create_user("staff@fulcrum.test", "secret", is_staff=True))
    return client


@pytest.fixture
def prometheus(
    tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Prometheus]:
    monkeypatch.setattr(monitors, "SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr(live, "MONITOR_SECONDS", PATIENCE_SECONDS)
    with served(certificates(tmp_path)) as running:
        settings.CLUSTER = {**settings.CLUSTER, "monitors": [running.monitor]}
        yield running


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Makes a database's address lead nowhere."""
    key, nowhere = ("PORT", 1) if CONFIG else ("NAME", "/nowhere/at/all.sqlite3")
    with monkeypatch.context() as patch:
        yield lambda alias: patch.setitem(connections[alias].settings_dict, key, nowhere)


def part(client: Client, name: str = "live") -> str:
    response = client.get(reverse("console:part", args=[name]))
    assert response.status_code == 200
    return text_of(response)


@pytest.mark.parametrize("page", PAGES)
def test_staff_see_it(staff: Client, page: str) -> None:
    response = staff.get(page)
    assert response.status_code == 200
    assert "private" in response["Cache-Control"]


@pytest.mark.parametrize("page", PAGES)
def test_members_do_not_know_that_it_exists(client: Client, account: Account, page: str) -> None:
    assert log_in(client).get(page).status_code == 404


@pytest.mark.parametrize("page", PAGES)
def test_a_stranger_is_asked_to_log_in(client: Client, page: str) -> None:
    assert client.get(page)["Location"] == f"/login/?next={page}"
    assert client.get(page, headers={"X-Requested-With": "fetch"}).status_code == 403


@pytest.mark.parametrize("page", PAGES)
def test_it_is_only_looked_at(staff: Client, page: str) -> None:
    assert staff.post(page).status_code == 405


def test_a_part_that_there_is_not(staff: Client) -> None:
    assert staff.get("/console/parts/nothing/").status_code == 404


def test_staff_find_it_and_members_do_not(staff: Client, account: Account) -> None:
    assert 'href="/console/"' in text_of(staff.get("/"))
    members = text_of(log_in(Client()).get(f"/a/{account.slug}/"))
    assert "/console/" not in members


def test_an_unchanged_part_is_not_sent_again(staff: Client) -> None:
    address = reverse("console:part", args=["live"])
    first = staff.get(address)
    again = staff.get(address, headers={"If-None-Match": first["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_every_database_is_there(staff: Client, settings: Any) -> None:
    shown = part(staff)
    for shard in settings.SHARDING["SHARDS"]:
        assert f'<th scope="row">{shard}</th>' in shown
    assert '<th scope="row">catalog</th>' in shown
    assert "shards answer" in shown


def test_without_a_monitor_it_says_how_to_get_one(staff: Client) -> None:
    shown = part(staff)
    assert "Nobody watches this cluster" in shown
    assert "ansible/site.yml" in shown
    assert "The last hour" not in shown


def test_alerts_and_their_chapter(staff: Client, prometheus: Prometheus) -> None:
    prometheus.alerts = [alert("ReplicaLags", summary="<b>behind</b>", labels={"host": "n3"})]
    prometheus.series = lambda query: [{"database": "shard01"} if "by (" in query else {}]
    shown = part(staff)
    assert "&lt;b&gt;behind&lt;/b&gt;" in shown
    assert 'href="/console/runbooks/#shard-down"' in shown
    assert "host <b>n3</b>" in shown
    assert "1 firing, 0 pending" in shown
    assert shown.count('class="spark"') == len(history.CHARTS)


def test_silence_of_the_monitor_is_no_silence_of_alerts(
    staff: Client, prometheus: Prometheus
) -> None:
    prometheus.fault = "garbage"
    shown = part(staff)
    assert "No monitor answers, so nobody knows" in shown
    assert f"monitor {prometheus.url}: " in shown
    assert "Nothing fires" not in shown
    assert prometheus.monitor["password"] not in shown


@pytest.mark.parametrize("fires", [True, False])
def test_what_a_monitor_said_last_is_shown_with_its_time(
    staff: Client, prometheus: Prometheus, fires: bool
) -> None:
    prometheus.alerts = [alert("ReplicaLags", summary="is behind")] * fires
    part(staff)
    views.PARTS["live"].forget()
    prometheus.fault = "garbage"
    shown = part(staff)
    assert ("is behind" in shown) == fires
    assert ("Alerts, as a monitor last said: 1 firing" in shown) == fires
    assert ("UTC</time> it was this." in shown) == fires
    assert ("UTC</time> nothing did, and nothing was about to." in shown) == (not fires)
    assert "No monitor answers, so nobody knows what fires now" in shown
    assert "Nothing fires" not in shown


def test_a_shard_that_is_away_is_said_and_the_others_shown(
    staff: Client, away: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    ask_each = databases.ask_each
    monkeypatch.setattr(databases, "ask_each", lambda *a: asked.extend(a[0]) or ask_each(*a))
    away("shard02")
    shown = part(staff)
    several = len(sharding().shards)
    assert f"{several - 1} of {several} shards answer" in shown
    assert 'shard02 <span class="tag">away</span>' in shown
    assert "shard02 away: " in shown
    assert shown.count('class="tag"') == 1
    assert "shard01" in asked
    assert "shard02" not in asked, "it has taken its time already"
    assert staff.get("/console/").status_code == 200


def test_the_catalog_away_leaves_the_shards(staff: Client, monkeypatch: Any) -> None:
    from django.db import OperationalError

    def refuse(*args: object) -> None:
        raise OperationalError("gone")

    monkeypatch.setattr(slots, "_accounts", refuse)
    shown = part(staff)
    assert '<th scope="row">shard01</th>' in shown
    assert "accounts cannot be counted" in part(staff, "placed")


def test_accounts_are_where_the_map_says(account: Account, other_account: Account) -> None:
    there = sorted(sharding().shards)
    moved = ShardMap.even(there).slots, {other_account.pk: there[-1]}
    snapshot = use_map(ShardMap(*moved, version=7))
    picture = slots.slot_picture()
    assert picture is not None
    assert (picture.version, picture.accounts) == (7, Account.objects.count())
    counted = Counter(snapshot.shard_of(pk) for pk in Account.objects.values_list("pk", flat=True))
    assert {each.shard: each.accounts for each in picture.shards if each.accounts} == counted
    assert {each.shard: each.slots for each in picture.shards} == snapshot.slots_by_shard()
    assert [each.pins for each in picture.shards] == [0] * (len(there) - 1) + [1]


def test_a_shard_without_a_slot_is_in_the_picture(account: Account) -> None:
    there = sorted(sharding().shards)
    use_map(ShardMap.even(there[:-1]))
    picture = slots.slot_picture()
    assert picture is not None
    assert (picture.shards[-1].shard, picture.shards[-1].slots) == (there[-1], 0)


def test_a_square_for_each_slot() -> None:
    levels = [1] * 70 + [3] * 10 + [0, 1]
    drawn = dict(slots._paths(levels))
    assert drawn == {1: "M0 0.5h64M0 1.5h6M17 1.5h1", 3: "M6 1.5h10"}


@pytest.mark.parametrize("most", [1, 2, 3, 7, 4097])
def test_the_legend_has_every_number_once(most: int) -> None:
    picture = slots.SlotPicture(1, most, most, [])
    for number in range(1, most + 1):
        level = slots._level(number, most)
        assert [(a, b) for n, a, b in picture.shades if n == level and a <= number <= b]
    assert sum(b - a + 1 for _, a, b in picture.shades) == most


def test_its_cost_does_not_grow(staff: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    statements: Counter[str] = Counter()
    rows = Reader.rows

    def counting(self: Reader, *args: Any) -> Any:
        statements[self.connection.alias] += 1
        return rows(self, *args)

    monkeypatch.setattr(Reader, "rows", counting)
    costs = []
    for size in (2, 40):
        make_accounts(size)
        forget()
        statements.clear()
        with counted_queries() as queries:
            assert staff.get("/console/").status_code == 200
        costs.append((len(queries), dict(statements)))
    assert costs[0] == costs[1]
    assert costs[0][0] <= 6  # session, user, accounts by slot and pinned, each for either part
    assert set(costs[0][1].values()) <= {1}
    assert bool(costs[0][1]) == bool(CONFIG)


def make_accounts(size: int) -> None:
    """More accounts, the last of them pinned."""
    begun = Account.objects.order_by("-pk").values_list("pk", flat=True).first() or 1
    made = [Account(pk=begun + n, slug=f"n{begun + n}", name="N") for n in range(1, size + 1)]
    Account.objects.bulk_create(made)
    there = sorted(sharding().shards)
    use_map(ShardMap(ShardMap.even(there).slots, {made[-1].pk: there[0]}, version=1))


def test_a_second_look_asks_no_shard_and_no_monitor(
    staff: Client, prometheus: Prometheus, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = part(staff)
    asked = len(prometheus.asked)
    monkeypatch.setattr(live, "look", None)  # would raise
    with counted_queries() as queries:
        assert part(staff) == shown
    assert len(prometheus.asked) == asked
    assert len(queries) == 2, "the session and the user"


def test_what_one_process_found_out_others_have() -> None:
    made: list[int] = []
    one, other = (Kept("shared", 60, lambda: made.append(1) or len(made)) for _ in range(2))
    assert (one.get(), other.get(), one.get(), made) == (1, 1, 1, [1])
    one.forget()
    assert one.get() == 2


def test_a_value_is_made_anew_when_it_is_old() -> None:
    made: list[int] = []
    kept = Kept("old", 0, lambda: made.append(1) or len(made))
    assert (kept.get(), kept.get()) == (1, 2)


def test_others_see_the_former_while_one_makes_the_next() -> None:
    begun, go_on = Event(), Event()

    def make() -> int:
        begun.set()
        assert go_on.wait(30)
        return 2

    kept = Kept("slow", 60, make)
    kept._held = (time.time() - 100, 1)
    maker = Thread(target=kept.get)
    maker.start()
    assert begun.wait(30)
    assert kept.get() == 1
    go_on.set()
    maker.join()
    assert kept.get() == 2


def test_load_is_what_was_done_since_the_look_before() -> None:
    rates = []
    for now, transactions in ((0, 500), (10, 1500), (20, 20)):  # at last its server began anew
        figures = databases.Figures("shard01", transactions=transactions)
        databases._rate({"shard01": figures}, 1000.0 + now)
        rates.append(figures.per_second)
    assert rates == [None, 100.0, None]


def test_who_waits_at_all_poolers(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    from prometheus_client.core import GaugeMetricFamily

    up = GaugeMetricFamily("routers_pooler_up", "", labels=["pooler"])
    up.add_metric(["a:6432"], 1)
    up.add_metric(["b:6432"], 0)
    labels = ["pooler", "database"]
    waiting = GaugeMetricFamily("routers_pool_clients_waiting", "", labels=labels)
    longest = GaugeMetricFamily("routers_pool_wait_seconds", "", labels=labels)
    for pooler, clients, seconds in (("a", 2, 0.5), ("c", 3, 1.5)):
        waiting.add_metric([pooler, "shard01"], clients)
        longest.add_metric([pooler, "shard01"], seconds)
    settings.SHARDING = {**settings.SHARDING, "POOLER_CONSOLES": ["host=a"]}
    monkeypatch.setattr(databases, "pools", lambda: [up, waiting, longest])
    assert databases._waits() == ({"shard01": databases.Pool(5, 1.5)}, ["b:6432"])


@pytest.mark.skipif(not CONFIG, reason="SQLite has no server to ask")
def test_figures_of_postgresql(staff: Client) -> None:
    databases.look()
    seen = databases.look()
    for figures in (*seen.shards, seen.catalog):
        assert figures.error is None
        assert figures.size_bytes
        assert figures.connections
        assert figures.most_connections
        assert figures.position
        for replica in figures.replicas:
            assert replica.lag_bytes is not None


@pytest.mark.skipif(not CONFIG, reason="SQLite has no replicas")
def test_a_replica_is_with_its_primary(staff: Client, settings: Any, away: Any) -> None:
    replicas = {"shard01": ["shard02", "shard03"]}  # not really, but asked as if they were
    settings.SHARDING = {**settings.SHARDING, "REPLICAS": replicas}
    away("shard03")
    shown = " ".join(part(staff).split())
    found = re.findall(r'<span class="replica( full)?">(\w+): (.*?)</span>', shown)
    assert found[1] == (" full", "shard03", "away")
    assert found[0][:2] == ("", "shard02")
    assert re.fullmatch("level|lag unknown|.* behind.*", found[0][2])
    assert '<span class="replica full">shard03: away</span>' in shown


def test_who_fails_after_answering_is_named(staff: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask_each(aliases: list[str], *args: object) -> dict[str, str | None]:
        return {
            alias: "broken off" if alias in ("default", "shard01") else None for alias in aliases
        }

    monkeypatch.setattr(databases, "ask_each", ask_each)
    shown = part(staff)
    assert "<li>catalog away: broken off</li><li>shard01 away: broken off</li>" in shown
    assert 'shard01 <span class="tag">away</span>' in shown


def test_the_busiest_are_named(staff: Client, account: Account) -> None:
    load = {"account": account.pk, "shard": "shard01", "rows": 12, "exact": False}
    load |= {"size_bytes": 2**20, "new_rows": 3}
    stranger = {**load, "account": account.pk + SLOTS * 1000, "exact": True}
    found = {"at": datetime.now(UTC), "largest": [load, stranger], "busiest": [], "away": {}}
    cache.set(busiest.ANSWER, {**found, "away": {"shard03": "gone"}})
    shown = part(staff, "placed")
    assert f'Acme <span class="soft">{account.pk}</span>' in shown
    assert f'<span class="soft">{stranger["account"]}</span>' in shown
    assert "~12" in shown
    assert "Without shard03" in shown
    assert "Nobody made a row" in shown


def test_one_process_counts_and_what_it_found_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[int] = []
    monkeypatch.setattr(busiest, "begin", lambda: begun.append(1))
    monkeypatch.setattr(busiest, "count", lambda: {"largest": []})
    monkeypatch.setattr(busiest.connections, "close_all", lambda: None)
    assert (busiest.busiest(), busiest.busiest(), begun) == (None, None, [1])
    busiest._count_and_keep()
    assert (busiest.busiest(), begun) == ({"largest": []}, [1])


@pytest.mark.skipif(not CONFIG, reason="a database in memory is the test's own")
def test_the_count_itself(account: Account) -> None:
    with account_context(account.pk):
        found = busiest.count()
    assert set(found) == {"at", "largest", "busiest", "away"}
    assert found["away"] == {}


def test_every_chapter_that_a_rule_names_is_there() -> None:
    from infra.templating import TEMPLATES

    rules = (TEMPLATES / "prometheus_rules.yml.j2").read_text()
    named = set(re.findall(r"about\('([a-z-]+)'", rules))
    assert len(named) > 5
    assert named <= {chapter.anchor for chapter in chapters()}


def test_a_chapter_is_text_with_a_few_marks(settings: Any, tmp_path: Path) -> None:
    settings.SITE = tmp_path / "site"
    (tmp_path / "ansible").mkdir()
    text = (
        "# Runbooks\n\nFirst.\n\n## Disk fills\n\n**Do.** <b> `rm <x> **` and [b](#b); [c](y.md)\n"
    )
    (tmp_path / "ansible" / "RUNBOOKS.md").write_text(text)
    preface, disk = chapters()
    assert (preface.title, disk.title, disk.anchor) == ("Runbooks", "Disk fills", "disk-fills")
    assert disk.html == (
        "<strong>Do.</strong> &lt;b&gt; <code>rm &lt;x&gt; **</code>"
        ' and <a href="#b">b</a>; [c](y.md)'
    )


def test_without_the_runbooks_it_says_where_they_are(
    staff: Client, settings: Any, tmp_path: Path
) -> None:
    settings.SITE = tmp_path / "site"
    assert "The runbooks are not on this host" in text_of(staff.get("/console/runbooks/"))

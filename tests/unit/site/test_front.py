"""The front page: its map, its feed and its counter, and what they cost."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client

from accounts.models import Account
from assessments import services
from front import counter, feed, places, starts, world
from front.starts import newest, publish
from routers import account_context
from tasks.models import Country
from tests.unit.site.caching.redis_server import RedisServer
from tests.unit.site.contests_support import account_on_each_shard
from tests.unit.site.pages_support import counted_queries, invited, log_in, make_test, text_of
from tests.variants import CHECKOUT

pytestmark = pytest.mark.django_db(databases="__all__")


@pytest.fixture(autouse=True)
def nothing_of_another_test() -> None:
    cache.clear()
    feed.newest_feed.forget()
    starts._Here.starts.clear()
    starts._Here.count = 0
    counter.COUNTER._alone.__init__(  # type: ignore[misc]
        counter.COUNTER._value, counter.COUNTER.fresh_seconds
    )


def told(client: Client) -> dict[str, Any]:
    """The feed, not from memory."""
    feed.newest_feed.forget()
    answer: dict[str, Any] = json.loads(client.get("/starts.json").content)
    return answer


def start(account: Account, number: int = 0, country: str | None = "PL") -> None:
    session = invited(account, make_test(account, name=f"T{number}"), name=f"Ada {number}")
    with account_context(account.pk):
        services.session_start(
            session, country=Country.objects.get(code=country) if country else None
        )


# What is told


def test_a_start_is_told_once_it_is_committed(
    client: Client, account: Account, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(using=shard_alias(account)) as waiting:
        start(account)
        assert told(client)["starts"] == []
    for tell in waiting:
        tell()
    (one,) = told(client)["starts"]
    assert (one["name"], set(one)) == ("Poland", {"key", "at", "name", "x", "y"})


def shard_alias(account: Account) -> str:
    from routers import shard_of

    return shard_of(account.pk)


def test_nothing_is_told_of_a_start_that_was_refused(
    client: Client, account: Account, django_capture_on_commit_callbacks: Any
) -> None:
    session = invited(account, make_test(account))
    with (
        django_capture_on_commit_callbacks(using=shard_alias(account), execute=True),
        account_context(account.pk),
        pytest.raises(services.SessionClosed),
    ):
        services.session_start(session, credits=0)
    assert told(client)["starts"] == []


def test_nothing_of_a_person_or_an_account_is_told(
    client: Client,
    redis_server: RedisServer,
    account: Account,
    django_capture_on_commit_callbacks: Any,
) -> None:
    with django_capture_on_commit_callbacks(using=shard_alias(account), execute=True):
        start(account)
    with redis_server.client as redis:
        ((_, fields),) = redis.xrange(starts.STREAM)
    assert set(fields) == {b"at", b"country"}
    assert "Ada" not in json.dumps(told(client))


def test_all_processes_see_the_newest_first(redis_server: RedisServer) -> None:
    for country in ("PL", "BR", ""):
        publish(country)
    found, count = newest()
    assert ([one.country for one in found], count) == (["", "BR", "PL"], 3)
    assert len({one.key for one in found}) == 3
    assert not starts._Here.starts


def test_the_stream_is_capped(redis_server: RedisServer) -> None:
    for _ in range(3 * starts.KEPT):
        publish("PL")
    found, count = newest()
    assert (len(found), count) == (starts.KEPT, 3 * starts.KEPT)
    with redis_server.client as redis:
        assert redis.xlen(starts.STREAM) == starts.KEPT


@pytest.mark.parametrize("how", ["away", "frozen"])
def test_a_start_without_redis(redis_server: RedisServer, client: Client, how: str) -> None:
    with getattr(redis_server, how)():
        publish("PL")
        assert [one["name"] for one in told(client)["starts"]] == ["Poland"]


def test_a_country_that_nobody_gave_has_no_place(client: Client) -> None:
    publish("")
    publish("??")
    assert [set(one) for one in told(client)["starts"]] == [{"key", "at", "name"}] * 2
    assert "started in <strong>somewhere" in text_of(client.get("/"))


# The counter


def test_it_counts_started_sessions_of_all_shards(client: Client, db_of_all: None) -> None:
    for number, account in enumerate(account_on_each_shard()):
        for _ in range(number + 1):
            start(account, number=_)
        invited(account, make_test(account, name="Only invited"), name="Not Started")
    assert told(client)["total"] == 1 + 2 + 3 + 4
    assert "10</span> <span>assessments to date" in text_of(client.get("/"))


def test_it_goes_up_without_counting_again(client: Client, db_of_all: None) -> None:
    assert told(client)["total"] == 0
    publish("PL")
    with counted_queries() as queries:
        assert told(client)["total"] == 1
    assert queries == []


def test_it_never_goes_below_what_was_counted(
    client: Client, db_of_all: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis has begun to count anew."""
    publish("PL")
    assert told(client)["total"] == 0  # counted behind it
    starts._Here.count = 0
    assert told(client)["total"] == 0


def test_it_says_which_shard_is_missing(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counter, "fan_out", lambda *given, **named: Without())
    assert told(client)["missing"] == ["shard03"]
    assert "Counted without <span>shard03</span>" in text_of(client.get("/"))


class Without:
    """A fan-out that could not reach a shard."""

    missing = {"shard03": None}

    def count(self) -> int:
        return 7


def test_while_it_is_counted_there_is_none(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counter, "fan_out", lambda *given, **named: 1 / 0)
    assert told(client)["total"] is None
    assert client.get("/").status_code == 200


# What it costs


@pytest.mark.parametrize("viewers", [1, 50])
def test_viewers_cost_the_shards_nothing(client: Client, db_of_all: None, viewers: int) -> None:
    """One count, then none, however many look and however much starts."""
    told(client)
    with counted_queries() as queries:
        for _ in range(viewers):
            publish("PL")
            told(client)
            client.get("/starts.json")
            assert client.get("/").status_code == 200
    assert queries == []


def test_viewers_cost_redis_nothing_either(redis_server: RedisServer, client: Client) -> None:
    """A process asks Redis a few times a second."""
    told(client)
    feed.newest_feed._feed = far_from_old(feed.feed())
    with redis_server.client as redis:
        before = redis.info("stats")["total_commands_processed"]
        for _ in range(50):
            client.get("/starts.json")
        after = redis.info("stats")["total_commands_processed"]
    assert after - before <= 2  # these very questions


def far_from_old(found: feed.Feed) -> feed.Feed:
    return feed.Feed(found.shown, found.body, found.etag, float("inf"))


def test_an_unchanged_feed_is_not_sent_again(client: Client) -> None:
    publish("PL")
    first = client.get("/starts.json")
    feed.newest_feed.forget()
    again = client.get("/starts.json", headers={"If-None-Match": first["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again["Cache-Control"] == "public, max-age=1"
    assert not first.has_header("Vary")
    publish("BR")
    feed.newest_feed.forget()
    changed = client.get("/starts.json", headers={"If-None-Match": first["ETag"]})
    assert changed.status_code == 200


def test_whoever_is_logged_in_gets_to_the_accounts(client: Client, account: Account) -> None:
    assert log_in(client).get("/")["Location"] == "/a/acme/"
    assert "Give skill its weight" in text_of(Client().get("/"))
    assert "Cookie" in Client().get("/")["Vary"]


# The map


def test_the_picture_is_the_drawn_one() -> None:
    drawn = Path(CHECKOUT / "site" / "static" / "world.svg").read_text()
    assert drawn == world.picture(), "python -m front.world > static/world.svg, in site/"


@pytest.mark.parametrize(
    ("code", "name", "x", "y"),
    [("GB", "Britain (UK)", 360, 65), ("JP", "Japan", 639, 97), ("BR", "Brazil", 267, 215)],
)
def test_countries_are_where_they_are(code: str, name: str, x: float, y: float) -> None:
    place = places.place_of(code)
    assert place
    assert place.name == name
    assert abs(place.x - x) < 4
    assert abs(place.y - y) < 4


def test_every_country_that_can_be_chosen_has_a_place_or_none(db_of_all: None) -> None:
    unknown = {c.code for c in Country.objects.all() if places.place_of(c.code) is None}
    assert unknown <= {"BV", "HM"}  # nobody lives there
    for code in ("PL", "US", "NZ", "AR", "KE", "IN"):
        place = places.place_of(code)
        assert place
        assert 0 <= place.x <= world.WIDTH
        assert 0 <= place.y <= world.HEIGHT

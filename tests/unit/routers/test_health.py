import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory

from routers import ShardMap
from routers.catalog import contact
from routers.health import readiness, views
from routers.shard_map import use_map
from tests.unit.conftest import CONFIG

EVEN = ShardMap.even(["shard01", "shard02", "shard03"])
OUTSIDE = "93.184.216.34"
on_postgresql = pytest.mark.skipif(not CONFIG, reason="SQLite has no server that could be away")


@pytest.fixture(autouse=True)
def databases(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    contact.made()
    readiness._Kept.report = None
    with django_db_blocker.unblock():
        yield
    contact.made()
    readiness._Kept.report = None


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a database's port lead nowhere."""

    def take(*aliases: str) -> None:
        for alias in aliases:
            monkeypatch.setitem(connections[alias].settings_dict, "PORT", 1)
            connections[alias].close()

    return take


def answer(path: str, **headers: Any) -> HttpResponse:
    def never(request: HttpRequest) -> HttpResponse:
        raise AssertionError("the probes are answered before any other middleware")

    request = RequestFactory().get(path, **headers)
    response = views.ProbeMiddleware(never)(request)
    assert isinstance(response, HttpResponse)
    return response


def ready(**headers: Any) -> tuple[int, dict[str, Any]]:
    response = answer("/readyz", **headers)
    return response.status_code, json.loads(response.content)


def test_healthz_asks_nothing(away: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "_report", lambda: pytest.fail("a probe of the databases"))
    response = answer("/healthz", headers={"host": "10.1.2.3:8000"})
    assert (response.status_code, response.content) == (200, b"ok\n")


def test_readyz_says_where_the_map_is_from_and_how_the_shards_answer() -> None:
    use_map(ShardMap(EVEN.slots, {}, 7))
    status, said = ready()
    assert status == 200
    assert said["ready"] is True
    assert (said["map"]["version"], said["map"]["source"]) == (7, "given")
    assert said["catalog"]["up"]
    assert set(said["shards"]) == {"shard01", "shard02", "shard03"}
    assert all(shard["up"] and shard["milliseconds"] > 0 for shard in said["shards"].values())
    assert said["degraded"] == []


def test_without_a_map_the_process_is_not_ready() -> None:
    use_map(None)  # type: ignore[arg-type]
    status, said = ready()
    assert (status, said["ready"], said["degraded"]) == (503, False, ["no map"])


@on_postgresql
def test_one_shard_away_is_named_and_the_others_are_served(away: Any) -> None:
    away("shard02")
    status, said = ready()
    assert status == 200
    assert [text.partition(":")[0] for text in said["degraded"]] == ["shard02 away"]
    assert not said["shards"]["shard02"]["up"]
    assert said["shards"]["shard01"]["up"]


@on_postgresql
def test_all_shards_away_is_not_ready(away: Any) -> None:
    away("shard01", "shard02", "shard03")
    assert ready()[0] == 503


@on_postgresql
def test_the_catalog_away_is_degraded_only(away: Any) -> None:
    away("default")
    contact.lost(Exception("went away"))
    status, said = ready()
    assert status == 200
    assert said["degraded"][0].startswith("catalog away since 20")
    assert said["degraded"][0].endswith(": went away")


def test_many_probes_ask_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    real = readiness._report
    monkeypatch.setattr(readiness, "_report", lambda: made.append(1) or real())
    for _ in range(20):
        ready()
    assert len(made) < 20


@pytest.mark.parametrize(
    "stranger",
    [{"REMOTE_ADDR": OUTSIDE}, {"headers": {"x-forwarded-for": "10.0.0.1"}}, {"REMOTE_ADDR": ""}],
)
def test_strangers_and_whoever_comes_by_a_proxy_see_no_inside(stranger: dict[str, Any]) -> None:
    assert ready(**stranger) == (200, {"ready": True})
    assert answer("/metrics", **stranger).status_code == 403


def test_the_token_opens_the_inside(settings: Any) -> None:
    settings.SHARDING = {**settings.SHARDING, "PROBE_TOKEN": "open sesame", "PROBE_NETWORKS": []}
    assert ready() == (200, {"ready": True})
    assert ready(headers={"authorization": "Bearer open sesam"})[1] == {"ready": True}
    headers = {"authorization": "Bearer open sesame", "x-forwarded-for": OUTSIDE}
    assert "shards" in ready(REMOTE_ADDR=OUTSIDE, headers=headers)[1]


def test_private_networks_see_the_inside() -> None:
    assert "shards" in ready(REMOTE_ADDR="10.20.30.40")[1]
    assert "shards" in ready(REMOTE_ADDR="::1")[1]


def test_probes_are_never_cached_and_only_read() -> None:
    assert "no-store" in answer("/readyz")["Cache-Control"]
    response = views.ProbeMiddleware(lambda request: HttpResponse())(
        RequestFactory().post("/healthz")
    )
    assert response.status_code == 405


@pytest.mark.urls("routers.urls")
def test_a_project_may_include_the_urls_instead(client: Client) -> None:
    assert [client.get(path).status_code for path in views.PROBES] == [200, 200, 200]

"""The shard map in a running site: told to every process, and at hand without the catalog."""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.bench.catalog import HOW, accounts_to_invite_in, frozen, outage, stopped
from tests.cluster.harness import Cluster, eventually
from tests.variants import CHECKOUT, PYTHONPATH, Variant
from tests.visitor import DEMO_EMAIL, Visitor

OUTAGE_SECONDS = 8.0
PUBLISH = """
import django; django.setup()
from routers import ShardMap, current_map
from routers.shard_map import publish_map
held = current_map()
pins = {**held.pins, 10**15 + held.version: "shard01"}
print(publish_map(ShardMap(held.slots, pins, held.version), reason="a test").version)
"""


@pytest.fixture(scope="module")
def product() -> Iterator[Cluster]:
    """All that `make up` starts, on the ports of test_product.py, which runs at another time."""
    variant = Variant("product", shift=5_000, fsync=True)
    cluster = Cluster(variant.describe(), variant.root)
    cluster.run("up")
    yield cluster
    cluster.run("down")


def run(product: Cluster, *command: str, status: int = 0) -> str:
    """A Python command with the site's settings; what it printed."""
    environment = {
        **os.environ,
        "FULCRUM_CONFIG": str(product.root / "site.json"),
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "PYTHONPATH": PYTHONPATH,
    }
    done = subprocess.run(
        [sys.executable, *command],
        cwd=CHECKOUT / "site",
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stdout
    return done.stdout


def fetch(product: Cluster, path: str, **headers: str) -> tuple[int, str]:
    """Status and text."""
    request = urllib.request.Request(product.config()["public_url"] + path, headers=headers)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def readiness(product: Cluster) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(fetch(product, "/readyz")[1])
    return loaded


def is_whole(product: Cluster) -> bool:
    return readiness(product)["degraded"] == []


def recruiter(product: Cluster) -> Visitor:
    """Logged in: at once, or when the process that was asked has noticed the catalog's return."""
    visitor = Visitor(str(product.config()["public_url"]))
    form = {"username": DEMO_EMAIL, "password": product.secret("demo_password")}
    eventually(lambda: visitor.post("/login/", **form).status == 302)
    return visitor


def versions(product: Cluster) -> list[int]:
    """The version of the map that each process of the site says it has."""
    with product.redis("cache") as cache:
        found = [cache.get(key) for key in cache.scan_iter("routers:map:seen:*")]
    return [int(version) for version in found if version is not None]


def test_every_process_learns_of_a_new_map(product: Cluster) -> None:
    eventually(lambda: len(versions(product)) >= 3)  # two web workers, and Celery's
    version = int(run(product, "-c", PUBLISH))
    eventually(lambda: set(versions(product)) == {version})
    eventually(lambda: readiness(product)["map"]["version"] == version)
    saved = json.loads((product.root / "state" / "shard-map.json").read_text())
    assert saved["version"] == version
    assert "as version" in run(product, "manage.py", "shards", "check", "--links")


@pytest.mark.parametrize("how", sorted(HOW))
def test_known_accounts_go_on_while_the_catalog_is_away(product: Cluster, how: str) -> None:
    visitor = recruiter(product)
    slugs = accounts_to_invite_in(visitor)[:3]
    seen = outage(
        how, product.root, visitor, slugs, lambda: is_whole(product), seconds=OUTAGE_SECONDS
    )
    assert seen.errors == {}
    assert seen.answers.total() > len(slugs)


def test_a_web_server_starts_from_disk_while_the_catalog_is_away(product: Cluster) -> None:
    visitor = recruiter(product)
    slug = accounts_to_invite_in(visitor)[0]
    before = readiness(product)["map"]["version"]
    with stopped(product.root):
        product.wait_for_another("web", product.kill("web"))
        now = readiness(product)
        assert now["ready"]
        assert (now["map"]["source"], now["map"]["version"]) == ("disk", before)
        assert "map from disk" in now["degraded"]
        assert any(text.startswith("catalog away since") for text in now["degraded"])
        again = Visitor(str(product.config()["public_url"]))
        again.cookies = dict(visitor.cookies)
        assert again.get(f"/a/{slug}/").status == 200
    eventually(lambda: is_whole(product) and readiness(product)["map"]["source"] == "catalog")


def test_who_logs_in_while_the_catalog_is_frozen_is_told_so_and_holds_nobody_up(
    product: Cluster,
) -> None:
    visitor = recruiter(product)
    slug = accounts_to_invite_in(visitor)[0]
    with frozen(product.root):
        for _ in range(12):  # more than the site has threads
            stranger = Visitor(str(product.config()["public_url"]))
            answer = stranger.post("/login/", username=DEMO_EMAIL, password="wrong")
            assert answer.status == 503
        assert visitor.get(f"/a/{slug}/").status == 200
    eventually(lambda: is_whole(product))


def test_one_shard_away_is_named_everywhere(product: Cluster) -> None:
    with stopped(product.root, "shard02"):
        eventually(lambda: "shard02 away: " in " ".join(readiness(product)["degraded"]))
        assert readiness(product)["ready"]
        said = run(product, "manage.py", "shards", "status")
        assert "shard02 is away: " in said
        assert "shard03" in said
        said = run(product, "manage.py", "shards", "check", status=1)
        assert "not checked" in said
    eventually(lambda: is_whole(product))


def test_the_inside_is_shown_to_direct_neighbours_only(product: Cluster) -> None:
    assert accounts_to_invite_in(recruiter(product))  # asks the catalog, and shards
    text = fetch(product, "/metrics", Host="10.1.2.3")[1]
    assert 'routers_database_up{database="shard04"} 1.0' in text
    assert "routers_map_version" in text
    assert 'routers_query_seconds_count{database="default"}' in text
    assert 'routers_query_seconds_count{database="shard0' in text
    forwarded = {"X-Forwarded-For": "10.0.0.7"}
    assert fetch(product, "/metrics", **forwarded)[0] == 403
    assert fetch(product, "/readyz", **forwarded) == (200, '{\n "ready": true\n}')
    assert fetch(product, "/healthz", **forwarded) == (200, "ok\n")

"""The probes on the site: whatever host they name, and without the catalog's tables."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from routers.catalog import contact
from routers.health import readiness

pytestmark = pytest.mark.django_db(databases="__all__")


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    readiness._Kept.report = None
    contact.made()
    yield
    readiness._Kept.report = None
    contact.made()


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_a_probe_by_address_needs_no_session_and_no_query(
    path: str, django_assert_num_queries: Any
) -> None:
    client = Client(headers={"host": "10.20.30.40:8000"})
    client.cookies["sessionid"] = "0123456789abcdef0123456789abcdef"
    contact.lost(Exception("gone"))
    with django_assert_num_queries(0, using="default"):
        answer = client.get(path)
    assert answer.status_code == 200
    assert "Set-Cookie" not in answer.headers


def test_readyz_names_the_shards_of_the_site(settings: Any) -> None:
    said = json.loads(Client().get("/readyz").content)
    assert set(said["shards"]) == set(settings.SHARDING["SHARDS"])


def test_the_public_sees_no_inside() -> None:
    public = Client(headers={"x-forwarded-for": "93.184.216.34"})
    assert json.loads(public.get("/readyz").content) == {"ready": True}
    assert public.get("/metrics").status_code == 403
    assert public.get("/healthz").status_code == 200

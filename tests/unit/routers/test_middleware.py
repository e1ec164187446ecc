import asyncio

import pytest
from django.test import AsyncClient, Client

from routers import current_account


def test_account_of_the_slug_is_set_for_the_view_and_not_longer(client: Client) -> None:
    assert client.get("/a/basalt/").content == b"2"
    assert current_account() is None
    assert client.get("/").content == b"None"


def test_unknown_slug_is_404(client: Client) -> None:
    client.raise_request_exception = False
    assert client.get("/a/nobody/").status_code == 404


def test_account_ends_with_a_failing_view(client: Client) -> None:
    with pytest.raises(ValueError, match="acme"):
        client.get("/a/acme/fail/")
    assert current_account() is None


def test_account_is_set_under_asgi_too() -> None:
    async def visit() -> list[bytes]:
        answers = await asyncio.gather(*(AsyncClient().get(f"/a/{slug}/") for slug in SLUGS))
        return [answer.content for answer in answers]

    assert asyncio.run(visit()) == [b"1", b"2"] * 5
    assert current_account() is None


SLUGS = ["acme", "basalt"] * 5

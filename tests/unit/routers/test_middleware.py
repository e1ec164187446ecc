import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import AsyncClient, Client
from django.urls import path

from routers import account_context, current_account
from tests.unit.routers.urls import urlpatterns as shown

SLUGS = ["acme", "basalt"] * 5
Seen = list[tuple[str, int | None]]
seen: Seen = []


def stream(request: HttpRequest, account_slug: str) -> StreamingHttpResponse:
    return StreamingHttpResponse(accounts_of_steps())


async def stream_async(request: HttpRequest, account_slug: str) -> StreamingHttpResponse:
    return StreamingHttpResponse(accounts_of_steps_async())


async def stream_nested(request: HttpRequest, account_slug: str) -> StreamingHttpResponse:
    """Sets another account for its middle step."""

    async def steps() -> AsyncIterator[str]:
        yield f"{current_account()} "
        with account_context(7):
            yield f"{current_account()} "
        yield f"{current_account()} "

    return StreamingHttpResponse(steps())


async def wait(request: HttpRequest, account_slug: str) -> HttpResponse:
    """Waits until the client has gone."""
    seen.append(("waits", current_account()))
    try:
        await asyncio.Event().wait()
    finally:
        seen.append(("cancelled", current_account()))
    return HttpResponse()


def accounts_of_steps() -> Iterator[str]:
    try:
        for _ in range(3):
            yield f"{current_account()} "
    finally:
        seen.append(("closed", current_account()))


async def accounts_of_steps_async() -> AsyncIterator[str]:
    try:
        for _ in range(3):
            yield f"{current_account()} "
            await asyncio.sleep(0)
    finally:
        seen.append(("closed", current_account()))


urlpatterns = [
    *shown,
    path("a/<slug:account_slug>/stream/", stream),
    path("a/<slug:account_slug>/stream-async/", stream_async),
    path("a/<slug:account_slug>/stream-nested/", stream_nested),
    path("a/<slug:account_slug>/wait/", wait),
]
pytestmark = pytest.mark.urls(__name__)


@pytest.fixture(autouse=True)
def _nothing_seen() -> Iterator[None]:
    seen.clear()
    yield
    assert current_account() is None


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


def test_account_ends_with_a_view_that_fails_under_asgi() -> None:
    async def visit() -> int | None:
        with pytest.raises(ValueError, match="acme"):
            await AsyncClient().get("/a/acme/fail/")
        return current_account()

    assert asyncio.run(visit()) is None


# Streams


def test_a_stream_keeps_the_account(client: Client) -> None:
    response = client.get("/a/basalt/stream/")
    assert current_account() is None
    assert b"".join(response.streaming_content) == b"2 2 2 "  # type: ignore[arg-type]


def test_a_stream_in_another_thread_keeps_the_account(client: Client) -> None:
    """As a server may do that answers and sends in two threads."""
    response, sent = client.get("/a/basalt/stream/"), []
    thread = threading.Thread(target=lambda: sent.extend(response.streaming_content))
    thread.start()
    thread.join(10)
    assert sent == [b"2 "] * 3


@pytest.mark.django_db(databases="__all__")  # Django closes old connections then
def test_a_stream_that_is_broken_off_is_closed_inside_the_account(client: Client) -> None:
    response = client.get("/a/basalt/stream/")
    next(iter(response.streaming_content))  # type: ignore[call-overload]
    response.close()
    assert seen == [("closed", 2)]


@pytest.mark.parametrize(
    ("page", "told"), [("stream-async", b"2 2 2 "), ("stream-nested", b"2 7 2 ")]
)
def test_a_stream_under_asgi_keeps_the_account(page: str, told: bytes) -> None:
    async def visit() -> bytes:
        response: Any = await AsyncClient().get(f"/a/basalt/{page}/")
        return b"".join([part async for part in response.streaming_content])

    assert asyncio.run(visit()) == told


# A client that goes away, over the real ASGI handler


def test_a_disconnect_ends_the_account_of_a_view_that_waits() -> None:
    async def visit() -> int | None:
        client = asgi("/a/basalt/wait/")
        await client.send_input({"type": "http.request", "body": b""})
        await until(lambda: seen == [("waits", 2)])
        await client.send_input({"type": "http.disconnect"})
        await client.wait(10)
        return current_account()

    assert asyncio.run(visit()) is None
    assert seen == [("waits", 2), ("cancelled", 2)]


def test_a_disconnect_closes_a_stream_inside_the_account() -> None:
    async def visit() -> bytes:
        client = asgi("/a/basalt/stream-async/")
        await client.send_input({"type": "http.request", "body": b""})
        await client.receive_output(10)
        first = await client.receive_output(10)
        await client.send_input({"type": "http.disconnect"})
        await client.wait(10)
        await until(lambda: len(seen) == 1)
        return bytes(first["body"])

    assert asyncio.run(visit()) == b"2 "
    assert seen == [("closed", 2)]


def test_the_next_request_of_the_loop_has_no_account_after_a_disconnect() -> None:
    async def visit() -> bytes:
        gone = asgi("/a/basalt/wait/")
        await gone.send_input({"type": "http.request", "body": b""})
        await until(lambda: bool(seen))
        await gone.send_input({"type": "http.disconnect"})
        await gone.wait(10)
        return bytes((await AsyncClient().get("/")).content)

    assert asyncio.run(visit()) == b"None"


def asgi(address: str) -> ApplicationCommunicator:
    """A connection to the project's ASGI application that has asked for that page."""
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": address,
        "query_string": b"",
        "headers": [(b"host", b"testserver")],
    }
    return ApplicationCommunicator(get_asgi_application(), scope)


async def until(is_so: Callable[[], bool]) -> None:
    """Give way to other tasks until it is so. Raises TimeoutError after 10 seconds."""
    async with asyncio.timeout(10):
        while not is_so():
            await asyncio.sleep(0)

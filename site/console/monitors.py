"""Asking Prometheus, over TLS with the cluster's authority, in bounded time.

`settings.CLUSTER["monitors"]` says how: url, ca, user, password of each; none on one machine.
"""

import base64
import http.client
import json
import ssl
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

from django.conf import settings

__all__ = ["Monitor", "MonitorSilent", "ask", "ask_each", "monitors"]

SECONDS = 1.5
MOST_BYTES = 8 * 2**20
CHUNK = 2**16
T = TypeVar("T")
Monitor = Mapping[str, str]


class MonitorSilent(Exception):
    """A monitor said nothing that can be used; the text says what it did, and what mends it."""


def monitors() -> list[Monitor]:
    """All monitors that the site knows of."""
    return list(settings.CLUSTER["monitors"])


def ask_each(question: Callable[[Monitor], T]) -> dict[str, T | MonitorSilent]:
    """Each monitor's answer by its URL, or why there is none; all are asked at the same time."""

    def one(monitor: Monitor) -> T | MonitorSilent:
        try:
            return question(monitor)
        except MonitorSilent as silent:
            return silent

    known = monitors()
    if not known:
        return {}
    with ThreadPoolExecutor(max_workers=len(known), thread_name_prefix="monitor") as pool:
        urls = [monitor["url"] for monitor in known]
        return dict(zip(urls, pool.map(one, known), strict=True))


def ask(monitor: Monitor, path: str, parameters: Mapping[str, object] | None = None) -> Any:
    """The `data` of Prometheus' answer to GET `path`. Raises MonitorSilent."""
    query = f"?{urlencode(parameters)}" if parameters else ""
    try:
        status, body = _get(monitor, path + query, time.monotonic() + SECONDS)
    except TimeoutError:
        raise MonitorSilent(f"no answer within {SECONDS:g} s") from None
    except ssl.SSLCertVerificationError as error:
        raise MonitorSilent(
            f"its certificate is not of this cluster ({error.verify_message}). "
            "ansible/site.yml makes it anew."
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise MonitorSilent(f"away: {error or type(error).__name__}") from error
    return _data(status, body)


def _get(monitor: Monitor, path: str, until: float) -> tuple[int, bytes]:
    """Status and body. Raises TimeoutError, OSError, HTTPException."""
    address = urlsplit(monitor["url"])
    context = ssl.create_default_context(cafile=monitor["ca"])
    connection = http.client.HTTPSConnection(
        address.hostname or "", address.port, timeout=SECONDS, context=context
    )
    login = base64.b64encode(f"{monitor['user']}:{monitor['password']}".encode()).decode()
    try:
        connection.request("GET", path, headers={"Authorization": f"Basic {login}"})
        answer = connection.getresponse()
        return answer.status, _read(answer, until)
    finally:
        connection.close()


def _read(answer: http.client.HTTPResponse, until: float) -> bytes:
    """The body. A server that gives a byte now and then has no more time than any other."""
    body = b""
    while chunk := answer.read1(CHUNK):
        body += chunk
        if len(body) > MOST_BYTES:
            raise http.client.HTTPException(f"an answer of more than {MOST_BYTES} bytes")
        if time.monotonic() > until:
            raise TimeoutError
    return body


def _data(status: int, body: bytes) -> Any:
    if status in (401, 403):
        raise MonitorSilent(
            f"refuses the site's login ({status}). ansible/site.yml gives both one probe_token."
        )
    try:
        said = json.loads(body)
        if said["status"] == "success":
            return said["data"]
        why = str(said["error"])
    except (ValueError, LookupError, TypeError):
        raise MonitorSilent(f"answers {status} with something that is not Prometheus'") from None
    raise MonitorSilent(f"answers {status}: {why[:200]}")

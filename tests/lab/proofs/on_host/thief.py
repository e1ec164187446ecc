"""What a thief tries with the site's own settings, as this host's user. Destroys nothing."""

import json
import socket
import ssl
import subprocess
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import unquote, urlsplit

CA = "/etc/fulcrum/tls/ca.crt"
SECONDS = 8


def main(arguments: dict[str, Any]) -> list[str]:
    """`tries`: list of kind and what it needs → what each was answered; "done" where it worked."""
    kinds = {"sql": _sql, "http": _http, "redis": _redis}
    return [kinds[one["kind"]](one) for one in arguments["tries"]]


def _sql(one: dict[str, Any]) -> str:
    """`login`: libpq's keywords but the password; `password`; `statement`."""
    login = {"sslmode": "verify-full", "sslrootcert": CA, "connect_timeout": str(SECONDS)}
    words = " ".join(f"{key}={value}" for key, value in {**login, **one["login"]}.items())
    done = subprocess.run(
        ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", words, "-c", one["statement"]],
        env={"PGPASSWORD": one["password"], "PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd="/",
    )
    said = f"{done.stdout.strip()} {done.stderr.strip()}".strip()
    return f"done {said}" if done.returncode == 0 else said


def _http(one: dict[str, Any]) -> str:
    """`method`, `url`, `body`."""
    context = ssl.create_default_context(cafile=CA)
    data = json.dumps(one["body"]).encode() if "body" in one else None
    request = urllib.request.Request(one["url"], data, method=one["method"])  # noqa: S310 - our own
    try:
        with urllib.request.urlopen(request, timeout=SECONDS, context=context) as answer:  # noqa: S310
            return f"done {answer.status}"
    except urllib.error.HTTPError as refusal:
        return f"HTTP {refusal.code}"
    except OSError as error:
        return f"no connection: {error}"


def _redis(one: dict[str, Any]) -> str:
    """`url`, with the login; `command`: words."""
    url = urlsplit(one["url"])
    context = ssl.create_default_context(cafile=CA)
    try:
        line = socket.create_connection((url.hostname, url.port), SECONDS)
        with context.wrap_socket(line, server_hostname=url.hostname) as tls:
            _send(tls, "AUTH", unquote(url.username or ""), unquote(url.password or ""))
            if not (said := tls.recv(4096).decode()).startswith("+OK"):
                return said.strip()
            _send(tls, *one["command"])
            said = tls.recv(4096).decode()
    except OSError as error:
        return f"no connection: {error}"
    return said.strip() if said.startswith("-") else f"done {said.strip()[:40]}"


def _send(tls: ssl.SSLSocket, *words: str) -> None:
    parts = [f"*{len(words)}\r\n", *(f"${len(word.encode())}\r\n{word}\r\n" for word in words)]
    tls.sendall("".join(parts).encode())

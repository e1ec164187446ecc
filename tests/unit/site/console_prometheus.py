"""A Prometheus for the console's tests: HTTPS, its login and the documented answers, and faults."""

import base64
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from infra.authority import Authority

__all__ = ["PATIENCE_SECONDS", "Prometheus", "alert", "certificates", "served"]

USER, PASSWORD = "fulcrum_site", "the probe's token"
PATIENCE_SECONDS = 60.0  # of the site with this Prometheus: a busy machine makes nobody silent


@dataclass
class Prometheus:
    """What the server says, which a test may change; and how the site would ask it."""

    url: str = ""
    ca: str = ""
    alerts: list[dict[str, Any]] = field(default_factory=list)
    series: Callable[[str], list[dict[str, str]]] = lambda query: [{}]
    values: Callable[[int], str] = lambda moment: "1.5"
    fault: str = ""  # "", "slow", "garbage", "html", "empty", "error"
    password: str = PASSWORD
    asked: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def monitor(self) -> dict[str, str]:
        """An entry of site.json's monitors."""
        return {"url": self.url, "ca": self.ca, "user": USER, "password": PASSWORD}

    def body(self, path: str) -> tuple[int, str]:
        address = urlsplit(path)
        self.asked.append(address.path)
        if self.fault == "slow":
            self.over.wait()
        faults = {
            "garbage": (200, '{"status": "success", "data": {"alerts": [{"state": "firing"}]}}'),
            "html": (200, "<!doctype html><title>A proxy</title>"),
            "empty": (204, ""),
            "error": (503, json.dumps({"status": "error", "errorType": "x", "error": "no TSDB"})),
        }
        if self.fault in faults:
            return faults[self.fault]
        data = self._data(address.path, parse_qs(address.query))
        return 200, json.dumps({"status": "success", "data": data})

    def _data(self, path: str, asked: dict[str, list[str]]) -> dict[str, Any]:
        if path == "/api/v1/alerts":
            return {"alerts": self.alerts}
        assert path == "/api/v1/query_range", path
        start, end, step = (int(asked[name][0]) for name in ("start", "end", "step"))
        values = [[moment, self.values(moment - start)] for moment in range(start, end + 1, step)]
        found = self.series(asked["query"][0])
        return {
            "resultType": "matrix",
            "result": [{"metric": labels, "values": values} for labels in found],
        }


def alert(name: str, severity: str = "page", state: str = "firing", **more: Any) -> dict[str, Any]:
    """An alert as Prometheus gives it; `labels` and `runbook` by name."""
    labels = {"alertname": name, "severity": severity, **more.get("labels", {})}
    runbook = more.get("runbook", "ansible/RUNBOOKS.md#shard-down")
    return {
        "labels": labels,
        "annotations": {"summary": more.get("summary", f"{name} it is"), "runbook": runbook},
        "state": state,
        "activeAt": more.get("since", "2026-11-23T17:04:05.123456789Z"),
        "value": "1e+00",
    }


def certificates(folder: Path) -> Path:
    """ca.crt of a new authority, and host.pem for 127.0.0.1 by it; returns the folder."""
    authority = Authority.make("test")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "monitor")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    csr = request.public_bytes(serialization.Encoding.PEM).decode()
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
    (folder / "ca.crt").write_text(authority.bundle)
    (folder / "host.pem").write_text(pem + authority.sign(csr, "monitor", ["127.0.0.1"]))
    return folder


@contextmanager
def served(folder: Path) -> Iterator[Prometheus]:
    """A server with the certificates of `folder`, until the block ends."""
    prometheus = Prometheus()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(prometheus))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "host.pem")
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    prometheus.url = f"https://127.0.0.1:{server.server_port}"
    prometheus.ca = str(folder / "ca.crt")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield prometheus
    finally:
        prometheus.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(prometheus: Prometheus) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            login = base64.b64encode(f"{USER}:{prometheus.password}".encode()).decode()
            if self.headers["Authorization"] != f"Basic {login}":
                self._answer(401, "Unauthorized\n")
                return
            self._answer(*prometheus.body(self.path))

        def _answer(self, status: int, text: str) -> None:
            try:
                self.send_response(status)
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())
            except OSError:
                self.close_connection = True  # whoever asked has hung up

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: pytest's output is for tests."""

    return Handler

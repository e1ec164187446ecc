"""Who listens on a host, and which certificate he shows. Runs there as root."""

import re
import socket
import ssl
import subprocess
from typing import Any

TLS = "/etc/fulcrum/tls"
SSL_REQUEST = bytes.fromhex("0000000804d2162f")
LOOPBACK = re.compile(r"^(127\.|\[::1\]|\[::ffff:127\.)")


def main(arguments: dict[str, Any]) -> dict[str, Any]:
    """`name`, `address` of the host → `tcp`: port, program, certificate; `udp`; `ipv6`."""
    tcp = [_listener(line, arguments) for line in _ss("-tlnpH")]
    return {
        "tcp": sorted((one for one in tcp if one), key=lambda one: one["port"]),
        "udp": [line.split()[3] for line in _ss("-ulnH") if not LOOPBACK.match(line.split()[3])],
        "ipv6": _link_local(),
    }


def _ss(options: str) -> list[str]:
    words = ["ss", options]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()


def _link_local() -> str:
    words = ["ip", "-6", "-brief", "address", "show", "scope", "link"]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    found = re.search(r"fe80::[0-9a-f:]+", said)
    return found[0] if found else ""


def _listener(line: str, host: dict[str, Any]) -> dict[str, Any] | None:
    where = line.split()[3]
    if LOOPBACK.match(where):
        return None
    program = re.search(r'\(\("([^"]+)"', line)
    port = int(where.rpartition(":")[2])
    address = where.rpartition(":")[0]
    seen = {"port": port, "program": program[1] if program else "?", "at": address}
    try:
        return {**seen, **_shown(host["address"], port, host["name"])}
    except OSError as error:
        return {**seen, "why": str(error)}


def _shown(address: str, port: int, name: str) -> dict[str, str]:
    """The version and the subject, if the certificate is the authority's and names the host."""
    context = ssl.create_default_context(cafile=f"{TLS}/ca.crt")
    context.load_cert_chain(f"{TLS}/host.crt", f"{TLS}/host.key")
    try:
        return _handshake(context, socket.create_connection((address, port), 5), name)
    except ssl.SSLCertVerificationError:
        raise
    except OSError:
        line = socket.create_connection((address, port), 5)
        line.sendall(SSL_REQUEST)
        if line.recv(1) != b"S":
            raise
        return _handshake(context, line, name)


def _handshake(context: ssl.SSLContext, line: socket.socket, name: str) -> dict[str, str]:
    line.settimeout(5)
    with context.wrap_socket(line, server_hostname=name) as tls:
        subject = dict(pair[0] for pair in (tls.getpeercert() or {})["subject"])
        return {"version": tls.version() or "", "certificate": subject["commonName"]}

"""Which TCP ports answer: a connection is tried to each. Runs on a host of the lab."""

import itertools
import resource
import select
import socket
import time
from typing import Any

AT_ONCE = 4000
SECONDS = 1.5
"""A lost SYN is sent again after one."""


def main(arguments: dict[str, Any]) -> dict[str, list[int]]:
    """`addresses`, `ports` ("all" or a list) → address → the open ones."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    at_once = min(AT_ONCE, most - 50)
    ports = range(1, 65536) if arguments["ports"] == "all" else arguments["ports"]
    found: dict[str, list[int]] = {address: [] for address in arguments["addresses"]}
    todo = ((address, port) for port in ports for address in found)
    while batch := list(itertools.islice(todo, at_once)):
        for address, port in _answering(batch):
            found[address].append(port)
    return {address: sorted(opened) for address, opened in found.items()}


def _answering(batch: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """All at once: whoever has said nothing by the deadline, which begins now, does not answer."""
    poll, waiting = select.epoll(), {}
    for address, port in batch:
        [(family, kind, _, _, place), *_] = socket.getaddrinfo(address, port, 0, socket.SOCK_STREAM)
        line = socket.socket(family, kind)
        line.setblocking(False)
        line.connect_ex(place)
        poll.register(line, select.EPOLLOUT)
        waiting[line.fileno()] = line, (address, port)
    opened, deadline = [], time.monotonic() + SECONDS
    while waiting and (left := deadline - time.monotonic()) > 0:
        for number, _ in poll.poll(left, AT_ONCE):
            line, place_of = waiting.pop(number)
            if line.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                opened.append(place_of)
            line.close()
    for line, _ in waiting.values():
        line.close()
    poll.close()
    return opened

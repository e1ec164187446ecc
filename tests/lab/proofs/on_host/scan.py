"""Which TCP ports answer: a connection is tried to each. Runs on a host of the lab."""

import asyncio
import resource
from collections.abc import Iterator
from typing import Any

AT_ONCE = 4000
SECONDS = 1.5
"""A lost SYN is sent again after one."""


def main(arguments: dict[str, Any]) -> dict[str, list[int]]:
    """`addresses`, `ports` ("all" or a list) → address → the open ones."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, AT_ONCE + 100), most))
    ports = arguments["ports"]
    wanted = list(range(1, 65536)) if ports == "all" else ports
    return asyncio.run(_scan(arguments["addresses"], wanted))


async def _scan(addresses: list[str], ports: list[int]) -> dict[str, list[int]]:
    todo = ((address, port) for port in ports for address in addresses)
    found: dict[str, list[int]] = {address: [] for address in addresses}
    await asyncio.gather(*(_worker(todo, found) for _ in range(AT_ONCE)))
    return {address: sorted(opened) for address, opened in found.items()}


async def _worker(todo: Iterator[tuple[str, int]], found: dict[str, list[int]]) -> None:
    for address, port in todo:
        try:
            async with asyncio.timeout(SECONDS):
                _, writer = await asyncio.open_connection(address, port)
        except (OSError, TimeoutError):
            continue
        found[address].append(port)
        writer.close()

"""Many HTTP clients in one thread: a crowd that asks at once, and viewers who keep asking."""

import asyncio
import threading
import time
import urllib.parse
from collections import Counter
from dataclasses import dataclass, field

__all__ = ["Reply", "Viewers", "crowd"]

SECONDS = 60.0


@dataclass(frozen=True)
class Reply:
    """`seconds` from sending to the last byte."""

    status: int
    headers: dict[str, str]
    seconds: float


class Line:
    """A connection. Raises OSError or EOFError where no answer comes."""

    def __init__(self, url: str, path: str) -> None:
        parts = urllib.parse.urlsplit(url)
        self.host, self.port, self.path = str(parts.hostname), parts.port or 80, path
        self.etag = ""
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def open(self) -> None:
        if self._streams is None:
            self._streams = await asyncio.open_connection(self.host, self.port)

    async def ask(self) -> Reply:
        await self.open()
        assert self._streams
        reader, writer = self._streams
        began = time.perf_counter()
        known = f"If-None-Match: {self.etag}\r\n" if self.etag else ""
        host = f"{self.host}:{self.port}"
        writer.write(f"GET {self.path} HTTP/1.1\r\nHost: {host}\r\n{known}\r\n".encode())
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        pairs = [line.split(": ", 1) for line in lines if line]
        headers = {name.lower(): value for name, value in pairs}
        await reader.readexactly(int(headers.get("content-length", 0)))
        self.etag = headers.get("etag", "")
        if headers.get("connection") == "close":
            self.close()
        return Reply(int(first.split()[1]), headers, time.perf_counter() - began)

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None


def crowd(url: str, path: str, number: int) -> list[Reply]:
    """The replies to so many requests sent at once, over connections that are open already."""

    async def ask_all() -> list[Reply]:
        lines = [Line(url, path) for _ in range(number)]
        for line in lines:
            await line.open()
        replies = await asyncio.gather(*(asyncio.wait_for(line.ask(), SECONDS) for line in lines))
        for line in lines:
            line.close()
        return list(replies)

    return asyncio.run(ask_all())


@dataclass
class Viewers:
    """So many browsers' worth of polling, in a thread, for the length of a `with` block."""

    url: str
    path: str
    number: int
    every: float = 1.0
    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    def __enter__(self) -> "Viewers":
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopping.set()
        self._thread.join(SECONDS)

    async def _run(self) -> None:
        await asyncio.gather(*(self._view(number) for number in range(self.number)))

    async def _view(self, number: int) -> None:
        line = Line(self.url, self.path)
        await asyncio.sleep(self.every * number / self.number)
        while not self._stopping.is_set():
            try:
                reply = await asyncio.wait_for(line.ask(), SECONDS)
                self.statuses[reply.status] += 1
                self.seconds.append(reply.seconds)
            except (OSError, EOFError):  # kept open for longer than the server wants it
                line.close()
                self.statuses[0] += 1
            await asyncio.sleep(self.every)
        line.close()

"""A sink that misbehaves as told: raw bytes over a socket, which no HTTP library would send."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

Play = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def saying(answer: bytes, *, hang: bool = False) -> Play:
    """Return a play that says ``answer`` to each request, and then closes, or says no more."""

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()
        if hang:
            await reader.read()

    return play


def answer(status: str, body: bytes = b"", **headers: str) -> bytes:
    """Return an answer of HTTP/1.1 with its right length, unless a header says otherwise."""
    told = {"content_length": str(len(body)), "connection": "close", **headers}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in told.items()]
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode() + body


class OddSink:
    """Give ``play`` what to do once a request's headers and body are there."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.play: Play = saying(answer("202 Accepted"))
        #: head and body of each request
        self.seen: list[bytes] = []
        self.connections = 0
        #: connections that are open now, and the most that ever were
        self.open = 0
        self.most_open = 0
        #: set while none is open
        self.idle = asyncio.Event()
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        port = self._server.sockets[0].getsockname()[1]
        self.host = f"127.0.0.1:{port}"
        self.url = f"{'https' if self._tls else 'http'}://{self.host}/sink"

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        self.open += 1
        self.idle.clear()
        self.most_open = max(self.open, self.most_open)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.seen.append(head + await reader.readexactly(_length(head)))
            await self.play(reader, writer)
        except (OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            self.open -= 1
            if not self.open:
                self.idle.set()
            writer.transport.abort() if task.cancelling() else writer.close()


def _length(head: bytes) -> int:
    for line in head.lower().splitlines():
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


@pytest.fixture
async def odd_sink() -> AsyncIterator[OddSink]:
    sink = OddSink()
    await sink.start()
    yield sink
    await sink.stop()

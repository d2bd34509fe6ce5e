"""A TCP proxy that is as bad as a modem: slow, late, lossy, cut one way, or down."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from dataclasses import dataclass, field
from typing import Final, Self

PIECE: Final = 16 * 1024
ON_THE_WAY: Final = 64
"""Pieces that are on the way at once, each way: a network holds only so much."""


@dataclass
class BadLink:
    """Stands between a box and a broker; ``async with`` runs it. All may change while it runs."""

    host: str
    to: int
    #: seconds that bytes take, each way
    delay: float = 0.0
    #: share of pieces that are lost; TCP sends each again after ``again`` s, and all behind it wait
    loss: float = 0.0
    again: float = 0.4
    #: bytes a second to the broker; 0: no limit, and none may be set while it runs
    rate: float = 0.0
    #: ways that are cut: ``to`` the broker, ``from`` it. Nobody is told; what was sent waits.
    cut: set[str] = field(default_factory=set)
    #: whether nobody is let through
    down: bool = False
    port: int = 0
    #: how many were let through
    connections: int = 0
    chance: random.Random = field(default_factory=lambda: random.Random(5))
    _open: set[asyncio.StreamWriter] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        listens = socket.create_server(("127.0.0.1", 0))
        if self.rate:
            # little is kept here: what is slow has to wait in the box. Not on other lines: Linux
            # gets stuck with so little room (a window of 2,192 bytes, segments of 2,452) and goes
            # on by its persist timer alone, one segment each 200 ms, until the connection ends.
            listens.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PIECE // 4)
        self._server = await asyncio.start_server(self._serve, sock=listens, limit=PIECE // 8)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.down = True
        self.hang_up()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def hang_up(self) -> None:
        """Reset every connection."""
        for writer in self._open:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        self._open.add(writer)
        there: asyncio.StreamWriter | None = None
        try:
            if not self.down:
                back, there = await asyncio.open_connection(self.host, self.to)
                self._open.add(there)
                self.connections += 1
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._way("to", reader, there), name="to the broker")
                    group.create_task(self._way("from", back, writer), name="from the broker")
        except* (OSError, EOFError):
            pass
        finally:
            for end in (writer, there):
                if end:
                    end.transport.abort()
                    self._open.discard(end)
            self._tasks.discard(task)

    async def _way(
        self, way: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(ON_THE_WAY)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._send_off(way, reader, pieces), name="sender")
            group.create_task(self._arrive(way, pieces, writer), name="arrival")

    async def _send_off(
        self, way: str, reader: asyncio.StreamReader, pieces: asyncio.Queue[tuple[float, bytes]]
    ) -> None:
        loop = asyncio.get_running_loop()
        while piece := await reader.read(PIECE):
            if self.rate and way == "to":
                await asyncio.sleep(len(piece) / self.rate)
            due = loop.time() + self.delay
            if self.loss and self.chance.random() < self.loss:
                due += self.again
            await pieces.put((due, piece))
        raise EOFError

    async def _arrive(
        self, way: str, pieces: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter
    ) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, piece = await pieces.get()
            await asyncio.sleep(due - loop.time())
            while way in self.cut:  # noqa: ASYNC110 (tests change it as they like)
                await asyncio.sleep(0.01)
            with contextlib.suppress(ConnectionError):
                # an end that is gone takes nothing more, but its last words still arrive
                if not writer.is_closing():
                    writer.write(piece)
                await writer.drain()

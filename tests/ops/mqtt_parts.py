"""A link that runs for a test, a broker between it and the real one, and what came."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from edge.errors import PartFailed
from edge.ops.mqtt import MqttLink
from edge.ops.mqtt_types import Limits, Message, MqttSettings
from tests.servers.mosquitto import Mosquitto


async def until(true: Callable[[], object], within: float = 10.0) -> None:
    end = time.monotonic() + within
    while not true():
        assert time.monotonic() < end, "it does not happen"
        await asyncio.sleep(0.01)


def settings_for(broker: Mosquitto, **more: Any) -> MqttSettings:
    settings: dict[str, Any] = {
        "host": broker.host,
        "port": broker.port,
        "client_id": "box",
        "first_wait": 0.05,
        "longest_wait": 0.2,
        "connect_timeout": 3.0,
        **more,
    }
    return MqttSettings(**settings)


@dataclass
class Life:
    """A running link, and what it told."""

    link: MqttLink
    task: asyncio.Task[None]
    welcomes: list[Limits]
    losses: list[PartFailed]
    heard: list[Message] = field(default_factory=list)

    async def take(self, messages: Sequence[Message]) -> None:
        self.heard += messages

    @property
    def payloads(self) -> list[bytes]:
        return [message.payload for message in self.heard]

    async def up(self) -> Limits:
        await asyncio.wait_for(self.link.room(), 10)
        return self.welcomes[-1]

    async def fails(self) -> PartFailed:
        await until(lambda: self.losses)
        return self.losses[0]

    async def cut(self) -> None:
        """End it as a power cut does: without goodbye."""
        self.task.cancel()
        await asyncio.wait([self.task])


@contextlib.asynccontextmanager
async def running(settings: MqttSettings, **more: Any) -> AsyncIterator[Life]:
    welcomes: list[Limits] = []
    losses: list[PartFailed] = []
    link = MqttLink(settings, up=welcomes.append, lost=losses.append, **more)
    task = asyncio.create_task(link.run(), name="link")
    life = Life(link, task, welcomes, losses)
    try:
        yield life
    finally:
        await link.close()
        if not task.cancelled():
            await asyncio.wait([task], timeout=5)
            assert task.done(), "it does not end"
            if not task.cancelled():
                task.result()


@dataclass
class Between:
    """A proxy between box and broker that looks at the hello, and can lose things."""

    broker: Mosquitto
    #: what it answers to a CONNECT of MQTT 5 in the broker's place; None: nothing, it passes it on
    to_5: bytes | None = None
    #: what the broker is made to say to each SUBSCRIBE of MQTT 5; None: what it says
    suback: int | None = None
    #: bytes from the box come through; False: they are swallowed
    passes: bool = True
    hellos: list[int] = field(default_factory=list)
    port: int = 0
    _server: asyncio.Server | None = None
    _open: list[asyncio.StreamWriter] = field(default_factory=list)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server
        self._server.close()
        self.hang_up()
        await self._server.wait_closed()

    def hang_up(self) -> None:
        """Reset every connection."""
        for writer in self._open:
            writer.transport.abort()
        self._open.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.append(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            hello = await reader.readexactly(9)
            self.hellos.append(hello[8])
            if hello[8] == 5 and self.to_5 is not None:
                writer.write(self.to_5)
                await writer.drain()
                writer.close()
                return
            theirs, ours = await asyncio.open_connection(self.broker.host, self.broker.port)
            self._open.append(ours)
            ours.write(hello)
            await asyncio.gather(
                self._pump(reader, ours, gate=True), self._pump(theirs, writer, gate=False)
            )

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, gate: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while piece := await source.read(4096):
                if self.suback is not None and piece[:1] == b"\x90" and not gate:
                    piece = piece[:5] + bytes([self.suback]) + piece[6:]
                if self.passes or not gate:
                    sink.write(piece)
                    await sink.drain()
        sink.transport.abort()

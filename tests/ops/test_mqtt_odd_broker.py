"""Scripted brokers that acknowledge in odd ways: late, in pieces, out of order, or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from edge.errors import PartFailed
from edge.ops.mqtt_connection import Connection
from edge.ops.mqtt_dial import dial
from edge.ops.mqtt_types import NO_PROPERTIES, Login, Message, MqttSettings, Version
from edge.ops.mqtt_wire import Wire
from tests.ops.mqtt_parts import running, until

VERSIONS = pytest.mark.parametrize("version", ["5", "3.1.1"])
WELCOME = {"5": b"\x20\x03\x00\x00\x00", "3.1.1": b"\x20\x02\x00\x00"}
WINDOW = 64


def ack(number: int) -> bytes:
    return b"\x40\x02" + number.to_bytes(2, "big")


@dataclass
class Session:
    """One connection, as the scripted broker sees it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def packet(self) -> tuple[int, bytes]:
        """Return the next packet's first byte and the rest of it."""
        first, size, shift = (await self.reader.readexactly(1))[0], 0, 0
        while True:
            more = (await self.reader.readexactly(1))[0]
            size |= (more & 127) << shift
            shift += 7
            if more < 128:
                return first, await self.reader.readexactly(size)

    async def message(self) -> tuple[int, bytes]:
        """Return the number and the last byte of the next message to the topic ``t``."""
        first, rest = await self.packet()
        while first >> 4 != 3:
            first, rest = await self.packet()
        assert first == 0x32, "QoS 1, not kept, and never sent twice by one connection"
        return int.from_bytes(rest[3:5], "big"), rest[-1:]

    async def say(self, *pieces: bytes) -> None:
        """Write pieces, each by itself."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0)


Script = Callable[[Session], Awaitable[None]]


@dataclass
class Scripted:
    """A broker that welcomes whoever comes, and then goes by a script."""

    script: Script
    version: str
    port: int = 0
    sessions: list[Session] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session, task = Session(reader, writer), asyncio.current_task()
        assert task
        self._tasks.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await session.packet()
                self.sessions.append(session)
                writer.write(WELCOME[self.version])
                await self.script(session)
        except asyncio.CancelledError:
            pass  # the test is over; asyncio.start_server complains about cancelled ones
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    @contextlib.asynccontextmanager
    async def __call__(self) -> AsyncIterator[Scripted]:
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            try:
                yield self
            finally:
                for task in self._tasks:
                    task.cancel()
                if self._tasks:
                    await asyncio.wait(self._tasks)

    def settings(self, ack_timeout: float = 30.0) -> MqttSettings:
        return MqttSettings(
            host="127.0.0.1",
            port=self.port,
            client_id="box",
            version="5" if self.version == "5" else "3.1.1",
            window=WINDOW,
            ack_timeout=ack_timeout,
            first_wait=0.05,
            longest_wait=0.2,
        )


# -- what moves by itself: nobody looks at the clock here


class Freed:
    """Hears when there is room, and nothing else."""

    def __init__(self) -> None:
        self.bell = asyncio.Event()

    def welcomed(self, connection: Connection) -> None:
        pass

    def heard(self, message: Message) -> None:
        pass

    def subscribed(self, topic: str, error: PartFailed | None) -> None:
        pass

    def freed(self) -> None:
        self.bell.set()


async def pump(settings: MqttSettings, version: Version, many: int, size: int) -> int:
    """Send messages over a connection that nobody watches; return how often it had no room."""
    sock, freed, waits = await dial(settings), Freed(), 0
    # what the kernel does not take has to wait in the wire
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
    wire = Wire(sock, settings.max_incoming)
    connection = Connection(wire, settings, version=version, number=1, listener=freed)
    try:
        async with asyncio.timeout(30):
            await connection.open(Login(), None)
            futures: list[asyncio.Future[None]] = []
            while len(futures) < many:
                while connection.full(1):
                    waits += connection.in_flight < WINDOW
                    freed.bell.clear()
                    await freed.bell.wait()
                futures.append(connection.publish("t", bytes(size), 1, NO_PROPERTIES, retain=False))
            await asyncio.gather(*futures)
        assert connection.in_flight == 0
        assert connection.counts["acked"] == many
    finally:
        connection.drop(PartFailed("done", reason="stopped"))
    return waits


def cut_up(acks: bytes, size: int) -> list[bytes]:
    return [acks[at : at + size] for at in range(0, len(acks), size)]


@VERSIONS
@pytest.mark.parametrize("size", [1, 3, 4, 7, 4 * WINDOW])
async def test_a_full_window_moves_on_with_its_acknowledgements_and_waits_for_no_clock(
    version: Version, size: int
) -> None:
    async def script(session: Session) -> None:
        while True:
            numbers = [(await session.message())[0] for _ in range(WINDOW)]
            await session.say(*cut_up(b"".join(map(ack, numbers)), size))

    async with Scripted(script, version)() as broker:
        await pump(broker.settings(), version, 5 * WINDOW, 500)


@VERSIONS
async def test_a_window_moves_on_however_its_acknowledgements_are_ordered_or_doubled(
    version: Version,
) -> None:
    async def script(session: Session) -> None:
        while True:
            numbers = [(await session.message())[0] for _ in range(WINDOW)]
            odd = [*numbers[::-2], *numbers[::2], *numbers[-2::-2], 65_535, 0]
            await session.say(b"\xd0\x00".join(map(ack, odd)))

    async with Scripted(script, version)() as broker:
        await pump(broker.settings(), version, 5 * WINDOW, 500)


@VERSIONS
async def test_a_full_wire_moves_on_as_soon_as_the_broker_reads_and_waits_for_no_clock(
    version: Version,
) -> None:
    async def script(session: Session) -> None:
        for _ in range(5):
            session.reader._transport.pause_reading()  # type: ignore[attr-defined]
            await asyncio.sleep(0.1)
            session.reader._transport.resume_reading()  # type: ignore[attr-defined]
            for _ in range(WINDOW):
                await session.say(ack((await session.message())[0]))

    async with Scripted(script, version)() as broker:
        assert await pump(broker.settings(), version, 5 * WINDOW, 60_000), "it was never full"


# -- what the broker owes


@VERSIONS
async def test_a_message_that_the_broker_skips_goes_again_by_the_next_connection(
    version: Version,
) -> None:
    came: list[list[bytes]] = []

    async def script(session: Session) -> None:
        mine: list[bytes] = []
        came.append(mine)
        while True:
            number, body = await session.message()
            mine.append(body)
            if body != b"s" or len(came) > 1:
                await session.say(ack(number))

    async def others(send: Callable[[], Awaitable[None]]) -> None:
        while True:
            await send()
            await asyncio.sleep(0.02)

    async with (
        Scripted(script, version)() as broker,
        running(broker.settings(ack_timeout=0.5)) as life,
    ):
        await life.up()
        skipped = asyncio.create_task(life.link.deliver("t", b"s"), name="skipped")
        busy = asyncio.create_task(others(lambda: life.link.deliver("t", b"o")), name="others")
        async with asyncio.timeout(30):
            await skipped
        busy.cancel()
        assert [error.reason for error in life.losses] == ["unacknowledged"]
        assert came[0].count(b"s") == 1
        assert came[0].count(b"o") > 1
        assert came[1].count(b"s") == 1


@VERSIONS
async def test_a_broker_that_speaks_and_acknowledges_nothing_is_left(version: Version) -> None:
    """It hands on messages all the time, so that it is never silent."""
    stray = b"\x30\x05\x00\x01n\x00x" if version == "5" else b"\x30\x04\x00\x01nx"

    async def script(session: Session) -> None:
        while True:
            await session.say(stray)
            await asyncio.sleep(0.02)

    async with (
        Scripted(script, version)() as broker,
        running(broker.settings(ack_timeout=0.5)) as life,
    ):
        await life.up()
        with pytest.raises(PartFailed) as caught:
            async with asyncio.timeout(30):
                await life.link.publish("t", b"x")
        assert caught.value.reason == "unacknowledged"
        # it owes nothing any more, and says the same: that is no reason to go
        await life.up()
        losses = len(life.losses)
        received = life.link.status().counts["received"]
        await until(lambda: life.link.status().counts["received"] > received + 40)
        assert len(life.losses) == losses


@VERSIONS
async def test_a_broker_that_is_slow_or_swaps_is_not_left(version: Version) -> None:
    """The last one waits for three times as long as any may be owed."""

    async def script(session: Session) -> None:
        numbers = [(await session.message())[0] for _ in range(12)]
        for at in range(0, 12, 2):
            await session.say(ack(numbers[at + 1]))
            # the link looks at the clock in between, and finds it skipped, more than once
            await asyncio.sleep(0.6)
            await session.say(ack(numbers[at]))

    async with (
        Scripted(script, version)() as broker,
        running(broker.settings(ack_timeout=1.2)) as life,
    ):
        await life.up()
        async with asyncio.timeout(30):
            await asyncio.gather(*(life.link.publish("t", b"x") for _ in range(12)))
        assert not life.losses


@VERSIONS
async def test_a_link_that_is_closed_while_it_connects_ends_and_is_not_up_later(
    version: Version,
) -> None:
    asked, late = asyncio.Event(), asyncio.Event()
    heard: list[bytes] = []

    async def hesitate(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"box")
        asked.set()
        await late.wait()
        writer.write(WELCOME[version])
        heard.append(await reader.read())
        writer.close()

    server = await asyncio.start_server(hesitate, "127.0.0.1", 0)
    broker = Scripted(Session.say, version, server.sockets[0].getsockname()[1])
    async with server, running(broker.settings()) as life:
        async with asyncio.timeout(20):
            await asked.wait()
            await life.link.close()
            await life.task
        assert life.link.status().state == "closed"
        late.set()
        await until(lambda: heard)
        assert heard == [b""], "no goodbye either: it never said welcome"
        assert not life.welcomes


@VERSIONS
@pytest.mark.parametrize("size", [1, 500_000])
async def test_a_broker_that_closes_its_half_is_left_at_once(version: Version, size: int) -> None:
    """Nothing of it waits: neither its acknowledgement nor, where it is large, to be written."""

    async def script(session: Session) -> None:
        if len(broker.sessions) == 1:
            await session.reader.readexactly(1)
            session.writer.write_eof()
            await asyncio.Event().wait()
        while True:
            await session.say(ack((await session.message())[0]))

    async with Scripted(script, version)() as broker, running(broker.settings()) as life:
        await life.up()
        async with asyncio.timeout(20):
            await life.link.deliver("t", bytes(size))
        assert [error.reason for error in life.losses] == ["cut"]
        assert len(broker.sessions) == 2

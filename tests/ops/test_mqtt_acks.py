"""Acknowledgements in whatever form and pieces they come: each message hears of its own, once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import EdgeError, TryLater
from edge.ops.mqtt_types import MqttSettings
from tests.ops.mqtt_parts import Life, running, settings_for, until
from tests.servers.mosquitto import Mosquitto, idle_mosquitto, mosquitto

__all__ = ["idle_mosquitto", "mosquitto"]

WELCOME = b"\x20\x03\x00\x00\x00"
PACKET = 9
"""Bytes of a PUBLISH of one byte to the topic ``t``."""
Form = tuple[int, str]
"""A reason code, and how it is said."""
forms = st.tuples(
    st.sampled_from([0x00, 0x10, 0x87, 0x97]), st.sampled_from(["short", "empty", "words"])
)


def written(mid: bytes, code: int, form: str) -> bytes:
    """Write a PUBACK of MQTT 5."""
    if form == "words":
        return b"\x40\x0a" + mid + bytes([code]) + b"\x06\x1f\x00\x03why"
    if form == "empty":
        return b"\x40\x04" + mid + bytes([code]) + b"\x00"
    return b"\x40\x03" + mid + bytes([code]) if code else b"\x40\x02" + mid


class Pedant:
    """A broker that acknowledges in the forms it is told, in pieces, with pings in between."""

    def __init__(self, said: Sequence[Form], sizes: Sequence[int]) -> None:
        self._said, self._sizes = said, sizes
        self.gone = asyncio.Event()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"box")
            writer.write(WELCOME)
            answer = b""
            for code, form in self._said:
                packet = await reader.readexactly(PACKET)
                answer += written(packet[5:7], code, form) + b"\xd0\x00"
            at = 0
            for size in (*self._sizes, len(answer)):
                writer.write(answer[at : at + size])
                await writer.drain()
                await asyncio.sleep(0)
                at += size
            await reader.read()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        self.gone.set()


@given(st.lists(forms, min_size=1, max_size=12), st.lists(st.integers(1, 7), max_size=40))
@settings(max_examples=80, deadline=None)
def test_every_form_of_acknowledgement_reaches_its_message(
    said: list[Form], sizes: list[int]
) -> None:
    async def main() -> None:
        pedant = Pedant(said, sizes)
        server = await asyncio.start_server(pedant.talk, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        here = MqttSettings(host="127.0.0.1", port=port, client_id="box", version="5")
        async with server, running(here) as life:
            await life.up()
            futures = [life.link.publish("t", b"x") for _ in said]
            await asyncio.wait(futures, timeout=5)
            for (code, form), future in zip(said, futures, strict=True):
                assert future.done(), (code, form)
                error = future.exception()
                assert isinstance(error, EdgeError) == (code >= 0x80)
                if isinstance(error, EdgeError):
                    assert error.status == code
                    assert ("why" in str(error)) == (form == "words")
            assert life.link.status().counts["acked"] == sum(code < 0x80 for code, _ in said)
            assert not life.losses
        await pedant.gone.wait()

    asyncio.run(main())


async def test_numbers_come_round_and_miss_none(mosquitto: Mosquitto) -> None:
    """Packets are numbered to 65535; 70,000 messages go by one connection."""
    async with running(settings_for(mosquitto)) as life:
        left, done = 70_000, 0

        def count(_: object) -> None:
            nonlocal done
            done += 1

        while left:
            for _ in range(min(left, await life.link.room())):
                life.link.publish("t", b"").add_done_callback(count)
                left -= 1
        await until(lambda: done == 70_000)
        assert life.link.status().counts["acked"] == 70_000
        assert not life.losses


def send_for_ever(life: Life) -> None:
    while True:
        life.link.publish("t", bytes(60_000), qos=0)


async def test_what_the_broker_does_not_read_fills_the_wire_and_then_goes_on(
    mosquitto: Mosquitto,
) -> None:
    async with running(settings_for(mosquitto)) as life:
        await life.up()
        mosquitto.freeze()
        with pytest.raises(TryLater):
            send_for_ever(life)
        mosquitto.thaw()
        await asyncio.wait_for(life.link.deliver("t", b"x"), 5)

"""The MQTT link with a real broker: what is acknowledged is safe, whatever happens in between."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace

import pytest

from edge.errors import PartFailed, Rejected, TryLater
from edge.ops.mqtt_types import Message, Properties, Will
from tests.ops.mqtt_parts import Between, Life, running, settings_for, until
from tests.places import ROOT
from tests.servers.mosquitto import Mosquitto, idle_mosquitto, mosquitto

__all__ = ["idle_mosquitto", "mosquitto"]

VERSIONS = pytest.mark.parametrize("version", ["5", "3.1.1"])


@VERSIONS
async def test_what_is_published_arrives_once_and_in_order(
    mosquitto: Mosquitto, version: str
) -> None:
    settings = settings_for(mosquitto, version=version)
    async with running(settings) as life, running(replace(settings, client_id="cloud")) as cloud:
        cloud.link.subscribe("edge/#", cloud.take)
        await asyncio.gather(life.up(), cloud.up())
        await cloud.link.deliver("sync", b"")
        for number in range(500):
            await life.link.room()
            life.link.publish("edge/a", b"%d" % number)
        await until(lambda: len(cloud.heard) == 500)
        assert cloud.payloads == [b"%d" % number for number in range(500)]
        await until(lambda: not life.link.status().in_flight)
        status = life.link.status()
        assert (status.state, status.counts["published"], status.counts["acked"]) == (
            "up",
            500,
            500,
        )
        assert status.limits
        assert status.limits.version == version
        assert 0 < status.round_trip < 5


async def test_what_mqtt_5_says_beside_a_message_arrives(mosquitto: Mosquitto) -> None:
    said = Properties(
        content_type="application/cloudevents+json",
        expiry=600,
        response_topic="reply/1",
        correlation=b"\x00\x01",
        user=(("seq", "7"), ("seq", "é"), ("", "")),
    )
    async with running(settings_for(mosquitto)) as life:
        life.link.subscribe("cmd/+", life.take)
        await life.up()
        await life.link.deliver("cmd/ping", b"x", properties=said)
        await life.link.deliver("cmd/ping", b"y", retain=True)
        await until(lambda: len(life.heard) == 2)
        assert life.heard[0].properties == said
        assert [one.retain for one in life.heard] == [False, True]


async def test_a_publish_without_connection_fails_and_says_why(
    idle_mosquitto: Mosquitto,
) -> None:
    async with running(settings_for(idle_mosquitto)) as life:
        with pytest.raises(PartFailed) as caught:
            life.link.publish("a", b"")
        assert caught.value.reason == "not_connected"
        assert (await life.fails()).reason == "refused"
        with pytest.raises(PartFailed) as caught:
            life.link.publish("a", b"")
        assert caught.value.reason == "refused"
        assert str(idle_mosquitto.port) in str(caught.value)


async def test_a_broker_that_is_killed_in_mid_stream_loses_nothing(
    idle_mosquitto: Mosquitto,
) -> None:
    broker = idle_mosquitto
    broker.keep()
    broker.lines.append("max_queued_messages 10000")
    broker.start()
    async with running(settings_for(broker, client_id="cloud")) as cloud:
        cloud.link.subscribe("r", cloud.take)
        await cloud.up()
        await until(lambda: cloud.link.status().state == "up")
        async with running(settings_for(broker)) as life:

            async def send(number: int) -> None:
                await life.link.deliver("r", b"%d" % number)

            async def sends() -> None:
                for start in range(0, 1000, 50):
                    await asyncio.gather(*(send(start + more) for more in range(50)))

            sending = asyncio.create_task(sends(), name="sends")
            for _ in range(4):
                await asyncio.sleep(0.1)
                # what it has acknowledged is on its disk
                broker.stop(signal.SIGTERM)
                broker.start()
            await asyncio.wait_for(sending, 20)
            await until(lambda: len(set(cloud.payloads)) == 1000)
            await until(lambda: life.link.status().counts["connects"] >= 4)


async def test_a_future_fails_with_the_connection_and_its_message_is_the_senders(
    mosquitto: Mosquitto,
) -> None:
    async with running(settings_for(mosquitto)) as life:
        await life.up()
        mosquitto.freeze()
        future = life.link.publish("a", b"x")
        await asyncio.sleep(0.1)
        assert not future.done()
        mosquitto.stop(signal.SIGKILL)
        with pytest.raises(PartFailed):
            await asyncio.wait_for(future, 5)
        delivery = asyncio.create_task(life.link.deliver("a", b"y"), name="delivery")
        await asyncio.sleep(0.2)
        assert not delivery.done()
        mosquitto.start()
        await asyncio.wait_for(delivery, 5)


async def test_a_broker_that_hangs_is_noticed(mosquitto: Mosquitto) -> None:
    settings = settings_for(mosquitto, keepalive=1, ack_timeout=60.0, connect_timeout=1.0)
    async with running(settings) as life:
        await life.up()
        mosquitto.freeze()
        began = asyncio.get_running_loop().time()
        error = await life.fails()
        assert error.reason == "silent"
        assert asyncio.get_running_loop().time() - began < 4
        await until(lambda: len(life.losses) > 1)
        assert life.losses[1].reason == "timeout"
        assert "does not answer" in str(life.losses[1])
        mosquitto.thaw()
        await life.up()


async def test_a_hanging_broker_is_noticed_sooner_while_it_owes_something(
    mosquitto: Mosquitto,
) -> None:
    async with running(settings_for(mosquitto, keepalive=60, ack_timeout=0.5)) as life:
        await life.up()
        mosquitto.freeze()
        future = life.link.publish("a", b"x")
        with pytest.raises(PartFailed) as caught:
            await asyncio.wait_for(future, 3)
        assert caught.value.reason == "silent"


async def test_the_will_is_published_when_the_box_is_gone_and_not_after_goodbye(
    mosquitto: Mosquitto,
) -> None:
    settings = settings_for(mosquitto, client_id="cloud")
    numbers = iter(range(1, 100))
    dead = lambda: Will(topic="status", payload=b"dead %d" % next(numbers))  # noqa: E731
    async with running(settings) as cloud:
        cloud.link.subscribe("status", cloud.take)
        await cloud.up()
        await cloud.link.deliver("sync", b"")
        async with running(settings_for(mosquitto), will=dead) as life:
            await life.up()
            await life.cut()
            await until(lambda: cloud.payloads == [b"dead 1"])
        async with running(settings_for(mosquitto), will=dead) as life:
            await life.up()
        await cloud.link.deliver("sync", b"")
        assert cloud.payloads == [b"dead 1"]


async def test_what_was_not_acknowledged_comes_again_after_kill_9(
    mosquitto: Mosquitto,
) -> None:
    """The box is another process, which has taken messages, not yet safely, when it is killed."""
    code = (
        "import asyncio, sys\n"
        "from edge.ops.mqtt import MqttLink\n"
        "from edge.ops.mqtt_types import MqttSettings\n"
        "async def take(messages):\n"
        "    for one in messages:\n"
        "        print(one.payload.decode(), flush=True)\n"
        "    if any(one.payload == b'2' for one in messages):\n"
        "        await asyncio.sleep(60)\n"
        "async def main():\n"
        f"    link = MqttLink(MqttSettings(host='127.0.0.1', port={mosquitto.port}, "
        "client_id='box'))\n"
        "    link.subscribe('cmd', take, lambda error: print('ready', flush=True))\n"
        "    await link.run()\n"
        "asyncio.run(main())\n"
    )
    box = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=subprocess.PIPE, cwd=ROOT
    )
    assert box.stdout
    assert await box.stdout.readline() == b"ready\n"
    async with running(settings_for(mosquitto, client_id="cloud")) as cloud:
        for number in (b"1", b"2"):
            await cloud.link.deliver("cmd", number)
            assert await box.stdout.readline() == number + b"\n"
        box.kill()
        await box.wait()
        await cloud.link.deliver("cmd", b"3")
        async with running(settings_for(mosquitto)) as life:
            life.link.subscribe("cmd", life.take)
            await until(lambda: len(life.heard) == 2)
            assert [(one.payload, one.dup) for one in life.heard] == [(b"2", True), (b"3", False)]
            assert life.welcomes[0].session_present


async def test_who_takes_nothing_holds_the_broker_up_and_then_gets_all(
    mosquitto: Mosquitto,
) -> None:
    shut = True
    asked = 0

    async def take(messages: Sequence[Message]) -> None:
        nonlocal asked
        asked += 1
        if shut:
            raise TryLater("no room", after=0.1)
        await life.take(messages)

    settings = settings_for(mosquitto, receive_maximum=8)
    async with running(settings) as life, running(settings_for(mosquitto, client_id="c")) as cloud:
        life.link.subscribe("n", take)
        await asyncio.gather(life.up(), cloud.up())
        await asyncio.sleep(0.1)
        for number in range(40):
            await cloud.link.deliver("n", b"%d" % number)
        await until(lambda: asked > 1)
        assert life.link.status().counts["received"] == 8
        shut = False
        await until(lambda: len(life.heard) == 40)
        assert life.payloads == [b"%d" % number for number in range(40)]


async def never(_: Sequence[Message]) -> None:
    await asyncio.Event().wait()


async def test_a_taker_that_hangs_leaves_what_it_has_to_the_next_one(
    mosquitto: Mosquitto,
) -> None:
    settings = settings_for(mosquitto, receive_maximum=8)
    async with running(settings) as life, running(settings_for(mosquitto, client_id="c")) as cloud:
        life.link.subscribe("n", never)
        await asyncio.gather(life.up(), cloud.up())
        await asyncio.sleep(0.1)
        for number in range(20):
            await cloud.link.deliver("n", b"%d" % number)
        await until(lambda: life.link.status().counts["received"] == 8)
        life.link.subscribe("n", life.take)
        await until(lambda: len(life.heard) == 20)
        assert life.payloads == [b"%d" % number for number in range(20)]


async def test_what_nobody_takes_any_more_is_in_nobodys_way(mosquitto: Mosquitto) -> None:
    """The broker hands on so many messages and no more before it hears of one."""
    settings = settings_for(mosquitto, receive_maximum=8)
    async with running(settings) as life, running(settings_for(mosquitto, client_id="c")) as cloud:
        life.link.subscribe("n", never)
        life.link.subscribe("m", life.take)
        await asyncio.gather(life.up(), cloud.up())
        await asyncio.sleep(0.1)
        for number in range(8):
            await cloud.link.deliver("n", b"%d" % number)
        await until(lambda: life.link.status().counts["received"] == 8)
        life.link.unsubscribe("n")
        await cloud.link.deliver("m", b"x")
        await until(lambda: life.payloads == [b"x"])


async def test_what_can_never_be_taken_is_not_sent_for_ever(mosquitto: Mosquitto) -> None:
    async def take(messages: Sequence[Message]) -> None:
        if messages[0].payload == b"poison":
            raise Rejected("no")
        await life.take(messages)

    async with running(settings_for(mosquitto)) as life:
        life.link.subscribe("n", take)
        await life.up()
        await life.link.deliver("n", b"poison")
        await until(lambda: life.link.status().counts["rejected"])
        await life.link.deliver("n", b"a")
        await until(lambda: life.payloads == [b"a"])


async def test_subscriptions_come_back_with_the_broker_that_forgot_them(
    mosquitto: Mosquitto,
) -> None:
    granted: list[PartFailed | None] = []
    async with running(settings_for(mosquitto)) as life:
        life.link.subscribe("n/#", life.take, granted.append)
        await until(lambda: granted == [None])
        mosquitto.stop(signal.SIGKILL)
        mosquitto.start()
        await until(lambda: len(granted) == 2)
        assert not life.welcomes[-1].session_present
        await life.link.deliver("n/x", b"a")
        await until(lambda: life.payloads == [b"a"])
        life.link.unsubscribe("n/#")
        await life.link.deliver("n/x", b"b")
        await life.link.deliver("sync", b"")
        assert life.payloads == [b"a"]


async def test_a_link_that_swallows_everything_one_way_is_noticed(mosquitto: Mosquitto) -> None:
    between = Between(mosquitto)
    await between.start()
    try:
        settings = replace(settings_for(mosquitto, keepalive=1), port=between.port)
        async with running(settings) as life:
            await life.up()
            between.passes = False
            assert (await life.fails()).reason in {"silent", "cut", "keep_alive"}
            between.passes = True
            await life.up()
    finally:
        await between.stop()


async def test_an_old_taker_gives_way_to_a_new_one(mosquitto: Mosquitto) -> None:
    other = Life.__new__(Life)
    other.heard = []
    async with running(settings_for(mosquitto)) as life:
        life.link.subscribe("n", life.take)
        await life.up()
        life.link.subscribe("n", other.take)
        await life.link.deliver("n", b"x")
        await until(lambda: other.payloads == [b"x"])
        assert life.payloads == []

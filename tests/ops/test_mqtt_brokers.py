"""The MQTT link with brokers that grant little, know less, or refuse."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from edge.errors import PartFailed, Rejected, TryLater
from edge.ops.mqtt_manners import Manners
from edge.ops.mqtt_types import Login, Will
from tests.ops.mqtt_parts import Between, running, settings_for, until
from tests.servers.mosquitto import Mosquitto, idle_mosquitto, mosquitto

__all__ = ["idle_mosquitto", "mosquitto"]


async def test_the_window_is_what_the_broker_grants(idle_mosquitto: Mosquitto) -> None:
    idle_mosquitto.lines.append("max_inflight_messages 5")
    idle_mosquitto.start()
    async with running(settings_for(idle_mosquitto)) as life:
        assert (await life.up()).window == 5
        assert await life.link.room() == 5
        for _ in range(5):
            life.link.publish("a", b"")
        with pytest.raises(TryLater) as caught:
            life.link.publish("a", b"")
        assert caught.value.reason == "window_full"
        assert await asyncio.wait_for(life.link.room(), 5) > 0


async def test_two_boxes_of_one_name_are_told_so(mosquitto: Mosquitto) -> None:
    """This mosquitto hangs up on the first one without a word; others say why."""
    slow = settings_for(mosquitto)
    async with running(slow) as one, running(slow) as other:
        await until(lambda: any(error.reason == "thrown_out" for error in one.losses))
        error = next(error for error in one.losses if error.reason == "thrown_out")
        assert "client_id" in error.hint
        # the waits grow although each connect succeeds
        before = len(one.losses + other.losses)
        await asyncio.sleep(1)
        assert len(one.losses + other.losses) - before < 20


async def test_a_packet_that_is_too_large_is_refused_before_it_is_sent(
    idle_mosquitto: Mosquitto,
) -> None:
    idle_mosquitto.lines.insert(0, "max_packet_size 1000")
    idle_mosquitto.start()
    async with running(settings_for(idle_mosquitto)) as life:
        assert (await life.up()).max_packet == 1000
        # 1 + 2 of the header, 2 + 1 of the topic, 2 of the number, 1 of no properties
        await asyncio.wait_for(life.link.publish("t", bytes(991)), 5)
        with pytest.raises(Rejected) as caught:
            life.link.publish("t", bytes(992))
        assert caught.value.reason == "too_large"
        for topic in ("", "a/+", "a/#", "x" * 70_000):
            with pytest.raises(Rejected):
                life.link.publish(topic, b"")
        assert not life.losses


async def test_a_broker_without_retain_gets_what_it_takes(idle_mosquitto: Mosquitto) -> None:
    idle_mosquitto.lines.insert(0, "retain_available false")
    idle_mosquitto.start()
    will = Will(topic="status", payload=b"dead")
    async with running(settings_for(idle_mosquitto), will=lambda: will) as life:
        life.link.subscribe("status", life.take)
        assert not (await life.up()).retain
        assert [one.reason for one in life.losses] == ["no_retain"]
        await life.link.deliver("status", b"here", retain=True)
        await until(lambda: life.payloads == [b"here"])


async def test_a_broker_of_3_1_1_is_spoken_to_in_3_1_1(mosquitto: Mosquitto) -> None:
    between = Between(mosquitto, to_5=b"\x20\x02\x00\x01")
    await between.start()
    try:
        async with running(replace(settings_for(mosquitto), port=between.port)) as life:
            assert (await life.up()).version == "3.1.1"
            assert [one.reason for one in life.losses] == ["version"]
            between.hang_up()
            await until(lambda: len(life.welcomes) == 2)
            assert between.hellos == [5, 4, 4]
        async with running(replace(settings_for(mosquitto), port=between.port, version="5")) as one:
            assert (await one.fails()).reason == "version"
            assert not one.welcomes
    finally:
        await between.stop()


async def test_a_broker_that_hangs_up_on_mqtt_5_is_spoken_to_in_3_1_1(
    mosquitto: Mosquitto,
) -> None:
    between = Between(mosquitto, to_5=b"")
    await between.start()
    try:
        async with running(replace(settings_for(mosquitto), port=between.port)) as life:
            assert (await life.up()).version == "3.1.1"
            assert life.losses[0].reason == "no_welcome"
    finally:
        await between.stop()


async def test_a_broker_that_knows_mqtt_5_and_hangs_up_is_not_taken_for_an_old_one(
    mosquitto: Mosquitto,
) -> None:
    """It restarts: in MQTT 3.1.1 it would acknowledge what it throws away from then on."""
    between = Between(mosquitto)
    await between.start()
    try:
        async with running(replace(settings_for(mosquitto), port=between.port)) as life:
            assert (await life.up()).version == "5"
            between.to_5 = b""
            between.hang_up()
            await until(lambda: [one.reason for one in life.losses].count("no_welcome") == 3)
            between.to_5 = None
            await until(lambda: len(life.welcomes) == 2)
            assert life.welcomes[1].version == "5"
            assert set(between.hellos) == {5}
    finally:
        await between.stop()


def test_while_nobody_says_welcome_each_wait_ends_with_mqtt_5() -> None:
    manners, error = Manners("auto"), PartFailed("it hung up", reason="no_welcome")
    tried = [(manners.version, manners.learn(error)) for _ in range(4)]
    assert tried == [("5", True), ("3.1.1", False)] * 2
    manners = Manners("5")
    assert [(manners.version, manners.learn(error)) for _ in range(2)] == [("5", False)] * 2


async def test_a_password_is_asked_for_anew_at_each_connect(idle_mosquitto: Mosquitto) -> None:
    idle_mosquitto.let_in(box="first")
    idle_mosquitto.start()
    password = "wrong"
    settings = settings_for(idle_mosquitto)
    async with running(settings, login=lambda: Login("box", password)) as life:
        error = await life.fails()
        assert error.reason in {"not_authorized", "bad_login"}
        assert "wrong" not in str(error) + error.hint + repr(Login("box", password))
        password = "first"
        await life.up()


async def test_a_topic_that_is_not_allowed_is_told(idle_mosquitto: Mosquitto) -> None:
    idle_mosquitto.allow("topic readwrite mine/#")
    idle_mosquitto.start()
    async with running(settings_for(idle_mosquitto)) as life:
        with pytest.raises(PartFailed) as caught:
            await life.link.deliver("theirs/a", b"x")
        assert (caught.value.reason, caught.value.status) == ("not_authorized", 0x87)
        await life.link.deliver("mine/a", b"x")
        assert life.link.status().state == "up"


async def test_a_filter_that_is_refused_is_told_shown_and_asked_for_again(
    mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.ops.mqtt.AGAIN", 0.2)
    between = Between(mosquitto, suback=0x87)
    await between.start()
    told: list[PartFailed | None] = []
    try:
        async with running(replace(settings_for(mosquitto), port=between.port)) as life:
            life.link.subscribe("theirs/#", life.take, told.append)
            await until(lambda: told)
            assert told[0]
            assert told[0].reason == "not_authorized"
            assert "theirs/#" in str(told[0])
            assert "theirs/#" in life.link.status().refused
            assert life.link.status().state == "up"
            between.suback = None
            await until(lambda: told[-1] is None)
            assert not life.link.status().refused
    finally:
        await between.stop()

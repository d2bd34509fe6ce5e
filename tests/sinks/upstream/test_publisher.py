"""The publisher and a real broker: what comes out, in which order, and what stays."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import time
from pathlib import Path

import pytest

from edge.cloudevents.json_format import decode
from tests.servers.mosquitto import Mosquitto, idle_mosquitto, mosquitto
from tests.sinks.conftest import DAY
from tests.sinks.upstream.parts import message
from tests.sinks.upstream.sending import TOPICS, batch, listening, sending

__all__ = ["idle_mosquitto", "mosquitto"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool" / "spool.db"


async def test_each_class_has_its_topic_and_each_message_says_what_it_is(
    path: Path, mosquitto: Mosquitto
) -> None:
    body = {"specversion": "1.0", "id": "a", "source": "/north/box/gate", "type": "t", "data": {}}
    now = time.time()
    async with listening(mosquitto) as cloud, sending(path, mosquitto) as box:
        await box.queue.put(
            message(1, "gate", body=body, at=now - 3600),
            message(2, "gate", "alarm", body=body, at=now, topic="door.open"),
            message(3, "", "receipt", body=body, at=now),
            message(4, "gate", "event", body=body, at=now),
        )
        await box.until(lambda: len(cloud.heard) == 4)
        assert [one.topic for one in cloud.heard] == [
            TOPICS.event("door.open"),
            TOPICS.result("gate"),
            TOPICS.receipt,
            TOPICS.event("event"),
        ]
        assert [json.loads(one.payload)["historical"] for one in cloud.heard] == [
            False,
            True,
            False,
            False,
        ]
        for one in cloud.heard:
            event = decode(one.payload)
            assert event.extensions["seq"] == 1
            assert one.properties.content_type == "application/cloudevents+json; charset=utf-8"
            assert one.properties.expiry is not None
            assert 89 * DAY < one.properties.expiry <= 91 * DAY
            assert not one.retain
        await box.empty()
        assert box.state() == "empty"


async def test_a_backlog_goes_out_in_order_and_leaves_nothing_behind(
    path: Path, mosquitto: Mosquitto
) -> None:
    async with listening(mosquitto, window=20) as cloud, sending(path, mosquitto) as box:
        box.publisher.pause()
        await box.queue.put(*batch(0, 5000, "gate", "yard", "dock"))
        assert box.state() == "paused"
        assert box.publisher.status()["waiting"] == 5000
        box.publisher.resume()
        await box.empty()
        await box.until(lambda: len(cloud.heard) == 5000)
        for rank, source in enumerate(("gate", "yard", "dock")):
            assert cloud.numbers(source) == list(range(rank, 5000, 3))
            seqs = [one["seq"] for one in cloud.of(TOPICS.result(source))]
            assert seqs == list(range(1, len(seqs) + 1))
        status = box.publisher.status()
        assert (status["delivered"], status["tombstoned"], status["waiting"]) == (5000, 0, 0)
        assert status["messages_per_s"] > 0
        assert status["last_delivered"] == pytest.approx(time.time(), abs=10)
    with sqlite3.connect(path) as connection:
        for table in ("upstream", "upstream_given", "upstream_loss"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    connection.close()


async def test_a_broker_that_is_killed_gets_all_and_in_order(
    path: Path, idle_mosquitto: Mosquitto
) -> None:
    broker = idle_mosquitto
    broker.keep()
    broker.start()
    async with (
        listening(broker, window=20, session_expiry=3600) as cloud,
        sending(path, broker) as box,
    ):
        putting = asyncio.create_task(_put_slowly(box.queue, 3000), name="putting")
        for pause in (0.15, 0.25, 0.1):
            await asyncio.sleep(pause)
            broker.stop(signal.SIGKILL)
            await asyncio.sleep(0.05)
            broker.start()
        await putting
        await box.empty(30)
        # what the broker had acknowledged and not kept is lost by it, not by the box
        await asyncio.sleep(0.2)
        numbers = cloud.numbers()
        assert box.queue.totals().delivered == 3000
        assert box.queue.totals().tombstoned == 0
        assert numbers == sorted(set(numbers))
        assert numbers[-1] == 2999


async def _put_slowly(queue: object, many: int) -> None:
    for first in range(0, many, 50):
        await queue.put(*batch(first, 50))  # type: ignore[attr-defined]
        await asyncio.sleep(0.01)


async def test_a_message_that_the_broker_finds_too_large_becomes_a_tombstone(
    path: Path, idle_mosquitto: Mosquitto
) -> None:
    idle_mosquitto.lines = ["max_packet_size 2000"]
    idle_mosquitto.start()
    async with listening(idle_mosquitto) as cloud, sending(path, idle_mosquitto) as box:
        large = message(1, body={"pad": "x" * 3000, "data": {"n": 1}})
        await box.queue.put(message(0), large, message(2))
        await box.until(lambda: cloud.losses() and cloud.numbers() == [0, 2])
        (loss,) = cloud.losses()
        assert (loss["reason"], loss["from_seq"], loss["to_seq"]) == ("too_large", 2, 2)
        await box.empty()


async def test_a_broker_of_old_that_hangs_up_on_a_large_message_gets_all_others(
    path: Path, idle_mosquitto: Mosquitto
) -> None:
    """MQTT 3.1.1 has no word for "too large": the broker hangs up, each time."""
    idle_mosquitto.lines = ["max_packet_size 2000"]
    idle_mosquitto.start()
    old = {"version": "3.1.1", "first_wait": 0.01, "longest_wait": 0.02}
    async with (
        listening(idle_mosquitto) as cloud,
        sending(path, idle_mosquitto, link=old) as box,
    ):
        large = message(10, body={"pad": "x" * 3000, "data": {"n": 10}})
        await box.queue.put(*batch(0, 10), large, *batch(11, 100))
        await box.until(lambda: cloud.losses() and len(cloud.numbers()) == 110)
        assert [loss["from_seq"] for loss in cloud.losses()] == [11]
        assert cloud.numbers() == [n for n in range(111) if n != 10]


async def test_what_the_broker_does_not_allow_waits_and_is_said_and_the_rest_goes(
    path: Path, idle_mosquitto: Mosquitto
) -> None:
    idle_mosquitto.allow(
        "topic read #", f"topic write {TOPICS.base}/event/#", f"topic write {TOPICS.loss}"
    )
    idle_mosquitto.start()
    async with listening(idle_mosquitto) as cloud, sending(path, idle_mosquitto) as box:
        await box.queue.put(*batch(0, 5), *[message(n, kind="event") for n in range(5)])
        await box.until(lambda: len(cloud.of(TOPICS.event("event"))) == 5)
        await box.until(lambda: box.state() == "held")
        status = box.publisher.status()
        assert "not authorised" in status["held"]["result"]
        assert status["classes"]["result"] == 5
        assert box.queue.totals().tombstoned == 0


async def test_a_pause_ends_by_itself(path: Path, mosquitto: Mosquitto) -> None:
    async with listening(mosquitto) as cloud, sending(path, mosquitto) as box:
        box.publisher.pause(0.3)
        assert box.publisher.until is not None
        await box.queue.put(message(1))
        await asyncio.sleep(0.1)
        assert not cloud.heard
        await box.until(lambda: cloud.numbers() == [1])
        assert not box.publisher.paused


async def test_outside_its_window_only_what_always_goes_is_sent_unless_somebody_is_in_a_hurry(
    path: Path, mosquitto: Mosquitto
) -> None:
    local = time.localtime(time.time() + 7200)
    later = f"{local.tm_hour:02}:00-{local.tm_hour:02}:59"
    async with listening(mosquitto) as cloud, sending(path, mosquitto, windows=[later]) as box:
        await box.queue.put(*batch(0, 5), message(1, kind="alarm"))
        await box.until(lambda: len(cloud.heard) == 1)
        await box.until(lambda: box.state() == "waiting_for_window")
        assert cloud.heard[0].topic == TOPICS.event("alarm")
        assert box.publisher.status()["through_in_s"] > 3000
        box.publisher.now()
        await box.until(lambda: cloud.numbers() == [0, 1, 2, 3, 4])
        await box.empty()
        # it was for what waited then
        await box.queue.put(message(5))
        await asyncio.sleep(0.3)
        assert cloud.numbers() == [0, 1, 2, 3, 4]


async def test_the_bytes_of_a_day_are_kept_over_a_restart(path: Path, mosquitto: Mosquitto) -> None:
    async with listening(mosquitto) as cloud:
        async with sending(path, mosquitto, per_day="2kB") as box:
            await box.queue.put(*batch(0, 50))
            await box.until(lambda: box.state() == "waiting_for_budget")
            await box.until(lambda: len(cloud.heard) > 5)
            await box.until(lambda: box.queue.totals().delivered == len(cloud.heard))
            sent = len(cloud.heard)
            assert 5 < sent < 15
        async with sending(path, mosquitto, per_day="2kB") as box:
            await box.until(lambda: box.state() == "waiting_for_budget")
            await asyncio.sleep(0.2)
            assert len(cloud.heard) == sent
            assert box.plan.spent > 1500


async def test_an_alarm_overtakes_a_slow_backlog(path: Path, mosquitto: Mosquitto) -> None:
    async with listening(mosquitto) as cloud, sending(path, mosquitto, rate="4kB") as box:
        await box.queue.put(*batch(0, 1000))
        await box.until(lambda: len(cloud.heard) > 20)
        await box.queue.put(message(1, kind="alarm"))
        await box.until(lambda: cloud.of(TOPICS.event("alarm")), 5.0)
        assert len(cloud.heard) < 200


async def test_a_change_of_the_plan_counts_at_once(path: Path, mosquitto: Mosquitto) -> None:
    from edge.config.mqtt import UpstreamConfig

    async with listening(mosquitto) as cloud, sending(path, mosquitto, rate="100B") as box:
        await box.queue.put(*batch(0, 200))
        await asyncio.sleep(0.2)
        assert len(cloud.heard) < 20
        box.publisher.change(UpstreamConfig())
        await box.until(lambda: len(cloud.heard) == 200)


async def test_what_can_be_sent_in_time_is_sent_at_the_end(
    path: Path, mosquitto: Mosquitto
) -> None:
    async with sending(path, mosquitto) as box:
        await box.queue.put(*batch(0, 500))
        assert await box.publisher.drain(10)
        mosquitto.stop()
        await box.queue.put(message(501))
        began = time.monotonic()
        assert not await box.publisher.drain(0.5)
        assert time.monotonic() - began < 10

"""What a real broker keeps of a box, and says to those who watch."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Collection, Mapping
from typing import Any

from tests.ops.mqtt_parts import until
from tests.servers.mosquitto import Mosquitto
from tests.sinks.upstream.presence_parts import TOPICS, kept, living, look, source, watching

HEALTH, INFO = TOPICS.health, TOPICS.info
GATE = TOPICS.source_status("gate")
ENABLED = TOPICS.source_state("gate", "enabled")


async def test_a_box_says_that_it_is_there_and_how_it_is(mosquitto: Mosquitto) -> None:
    async with living(mosquitto, start=3) as life:
        life.presence.show(look(gate=source()))
        await until(lambda: life.link.status().counts.get("acked", 0) >= 5)
        found = await asyncio.to_thread(kept, mosquitto)
    assert set(found) == {TOPICS.status, HEALTH, INFO, GATE, ENABLED}
    assert (found[TOPICS.status]["state"], found[TOPICS.status]["session"]) == ("online", 3_000_001)
    assert found[HEALTH] == {"session": 3_000_001, "state": "ok", "at": "now"}
    assert found[GATE]["state"] == "streaming"
    assert found[ENABLED] is True


async def test_the_birth_comes_before_anything_else(mosquitto: Mosquitto) -> None:
    async with watching(mosquitto) as watcher, living(mosquitto) as life:
        life.presence.show(look(gate=source()))
        await until(lambda: len(watcher.heard) >= 5)
    assert watcher.heard[0].topic == TOPICS.status


async def test_a_box_that_is_gone_is_offline_with_the_number_of_its_birth(
    mosquitto: Mosquitto,
) -> None:
    async with watching(mosquitto) as watcher:
        async with living(mosquitto, start=4) as life:
            await until(watcher.states)
            await life.crash()
            await until(lambda: len(watcher.states()) == 2)
        async with living(mosquitto, start=5):
            await until(lambda: len(watcher.states()) == 3)
    assert watcher.states()[:3] == [
        ("online", 4_000_001),
        ("offline", 4_000_001),
        ("online", 5_000_001),
    ]


async def test_a_box_that_stops_in_order_is_stopped_and_not_offline(mosquitto: Mosquitto) -> None:
    async with watching(mosquitto) as watcher:
        async with living(mosquitto) as life:
            await until(watcher.states)
            await life.presence.stop()
            life.presence.show(look())
            await life.link.close()
        await asyncio.sleep(0.3)
    assert [state for state, _ in watcher.states()] == ["online", "stopped"]
    assert watcher.values(HEALTH) == []


async def test_each_connection_has_a_greater_number(mosquitto: Mosquitto) -> None:
    async with living(mosquitto) as life:
        await until(lambda: life.link.status().state == "up")
        mosquitto.stop(signal.SIGKILL)
        await until(lambda: life.link.status().state == "waiting")
        mosquitto.start()
        await until(lambda: life.link.status().state == "up")
        async with watching(mosquitto) as watcher:
            await until(watcher.states)
    assert watcher.states() == [("online", 1_000_002)]


async def test_what_the_broker_forgot_it_is_told_again(mosquitto: Mosquitto) -> None:
    async with living(mosquitto) as life:
        life.presence.show(look(gate=source()))
        await until(lambda: life.link.status().counts.get("acked", 0) >= 5)
        mosquitto.stop()  # it keeps nothing
        mosquitto.start()
        await until(lambda: life.link.status().counts.get("acked", 0) >= 10)
        found = await asyncio.to_thread(kept, mosquitto)
    assert set(found) == {TOPICS.status, HEALTH, INFO, GATE, ENABLED}
    assert {found[topic]["session"] for topic in (TOPICS.status, HEALTH, INFO, GATE)} == {1_000_002}


async def test_news_comes_at_once_and_the_rest_in_its_time(mosquitto: Mosquitto) -> None:
    async with watching(mosquitto) as watcher, living(mosquitto, every=60) as life:
        life.presence.show(look(gate=source(fps=1.0)))
        await until(lambda: watcher.values(GATE))
        for fps in (2.0, 3.0):
            life.presence.show(look(gate=source(fps=fps)))
        assert [one["fps"] for one in watcher.values(GATE)] == [1.0]
        life.presence.show(look("degraded", gate=source("stalled")))
        await until(lambda: len(watcher.values(HEALTH)) == 2 and len(watcher.values(GATE)) == 2)
    assert [one["state"] for one in watcher.values(HEALTH)] == ["ok", "degraded"]


async def test_what_flickers_is_said_once_a_second(mosquitto: Mosquitto) -> None:
    async with watching(mosquitto) as watcher, living(mosquitto) as life:
        life.presence.show(look(gate=source()))
        await until(lambda: watcher.values(GATE))
        for at in range(50):
            life.presence.show(look(gate=source("stalled" if at % 2 else "streaming")))
            await asyncio.sleep(0.02)
        await until(lambda: watcher.values(GATE)[-1]["state"] == "stalled")
        await asyncio.sleep(1.2)
    assert len(watcher.values(GATE)) <= 4
    assert watcher.values(GATE)[-1]["state"] == "stalled"


async def test_a_source_that_is_removed_is_forgotten_by_the_broker(mosquitto: Mosquitto) -> None:
    async with living(mosquitto) as life:
        life.presence.show(look(gate=source(), yard=source()))
        await until(lambda: life.link.status().counts.get("acked", 0) >= 7)
        life.presence.show(look(yard=source()))
        await until(lambda: GATE not in life.presence.shelf.topics)
        await until(lambda: life.link.status().counts.get("acked", 0) >= 9)
        found = await asyncio.to_thread(kept, mosquitto)
    assert GATE not in found
    assert ENABLED not in found
    assert TOPICS.source_status("yard") in found


async def test_sources_of_an_earlier_run_are_forgotten_too(mosquitto: Mosquitto) -> None:
    gone: set[str] = set()

    def announce(_: Collection[str], left: Collection[str]) -> tuple[str, Mapping[str, Any]]:
        gone.update(left)
        return "others/box", {}

    async with living(mosquitto) as life:
        life.presence.show(look(gate=source()))
        await until(lambda: life.link.status().counts.get("acked", 0) >= 5)
        await life.crash()
    async with living(mosquitto, start=2, announce=announce) as life:
        life.presence.show(look(yard=source()))
        await asyncio.sleep(3.5)
        life.presence.show(look(yard=source()))
        found = await asyncio.to_thread(kept, mosquitto)
    assert {TOPICS.source_status("yard"), TOPICS.source_state("yard", "enabled")} < set(found)
    assert GATE not in found
    assert ENABLED not in found
    assert gone == {"gate"}


async def test_a_broker_that_keeps_nothing_is_told_every_so_often(
    idle_mosquitto: Mosquitto,
) -> None:
    idle_mosquitto.lines.append("retain_available false")
    idle_mosquitto.start()
    async with watching(idle_mosquitto) as watcher, living(idle_mosquitto, every=0.5) as life:
        end = asyncio.get_running_loop().time() + 2.0
        while asyncio.get_running_loop().time() < end:
            life.presence.show(look(gate=source()))
            await asyncio.sleep(0.1)
    assert len(watcher.states()) >= 2
    assert len(watcher.values(GATE)) >= 2
    assert len(watcher.values(INFO)) >= 2


async def test_what_the_broker_refuses_is_shown_and_the_rest_goes_on(
    idle_mosquitto: Mosquitto,
) -> None:
    idle_mosquitto.lines.append("message_size_limit 200")
    idle_mosquitto.start()
    async with living(idle_mosquitto, max_packet=300) as life:
        large = look(gate=source())
        life.presence.show(large)
        huge = {"version": "1", "more": "x" * 400}
        life.presence.show(
            type(large)(info=huge, health=large.health, mood="ok", sources=large.sources)
        )
        await until(life.presence.shelf.status)
        await until(lambda: life.link.status().counts.get("acked", 0) >= 3)
        assert list(life.presence.shelf.status()) == [INFO]
        assert "400" not in life.presence.shelf.status()[INFO]

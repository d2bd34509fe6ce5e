"""A real box and a real broker: what the world hears of the box, whatever happens to either."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from edge.messages.published import BOX_HEALTH, BOX_INFO, BOX_STATUS, SOURCE_STATUS
from edge.ops.mqtt import MqttLink
from edge.topics import Topics
from tests.journeys.box import PATIENCE, BoxProcess, pictures, until
from tests.journeys.conftest import MakeBox
from tests.messages.test_published import closed
from tests.ops.mqtt_parts import settings_for
from tests.ops.mqtt_parts import until as until_async
from tests.servers.mosquitto import Mosquitto, idle_mosquitto, mosquitto
from tests.sinks.upstream.presence_parts import Watcher, kept, watching

__all__ = ["idle_mosquitto", "mosquitto"]

TOML = """
[sources.gate]
kind = "scene"
fps = 2
width = 320
height = 180
[detect]
engine = "builtin"
[store]
kind = "folder"
path = "{out}"
[mqtt]
url = "mqtt://127.0.0.1:{port}"
retry_max = "1s"
{mqtt}
"""
TOPICS = Topics(site="site", node="box")


async def soon(true: Callable[[], object]) -> None:
    await until_async(true, PATIENCE)


def upstream(box: BoxProcess) -> dict[str, Any]:
    answer: dict[str, Any] = box.status().get("upstream", {"state": ""})
    return answer


@pytest.fixture
def start(make_box: MakeBox, tmp_path: Path) -> Any:
    def make(broker: Mosquitto, mqtt: str = "") -> BoxProcess:
        toml = TOML.format(out=tmp_path / "out", port=broker.port, mqtt=mqtt)
        box = make_box(toml)
        text = box.config.read_text()
        box.config.write_text(text.replace("[box]\n", '[box]\nsite = "site"\nnode = "box"\n', 1))
        box.start()
        return box

    return make


def strict(schema: dict[str, Any]) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(closed(schema))


def stored(out: Path) -> set[str]:
    return {path.relative_to(out).as_posix() for path in pictures(out)}


async def heard(watcher: Watcher, out: Path, box: BoxProcess) -> set[str]:
    """Stop the source, and return the pictures of which the broker was told, once it was of all."""

    def all_told() -> bool:
        return bool(stored(out)) and stored(out) == results(watcher)

    status, _ = await asyncio.to_thread(
        box.post, "/v1/commands/source.disable", b'{"name": "gate"}'
    )
    assert status == 200
    await soon(all_told)
    return results(watcher)


def results(watcher: Watcher) -> set[str]:
    return {one["data"]["store"]["key"] for one in watcher.values(TOPICS.result("gate"))}


async def test_every_picture_that_the_store_has_is_told_to_the_broker(
    mosquitto: Mosquitto, start: Any, tmp_path: Path
) -> None:
    async with watching(mosquitto) as watcher:
        box = await asyncio.to_thread(start, mosquitto, 'home_assistant = "homeassistant"')
        await soon(lambda: len(results(watcher)) >= 5)
        await heard(watcher, tmp_path / "out", box)
        told = watcher.values(TOPICS.result("gate"))
        assert [one["seq"] for one in told] == list(range(1, len(told) + 1))
        assert len({one["id"] for one in told}) == len(told)
        await soon(lambda: watcher.values(TOPICS.source_state("gate", "enabled"))[-1:] == [False])
    found = await asyncio.to_thread(kept, mosquitto)
    for topic, schema in (
        (TOPICS.status, BOX_STATUS),
        (TOPICS.info, BOX_INFO),
        (TOPICS.health, BOX_HEALTH),
        (TOPICS.source_status("gate"), SOURCE_STATUS),
    ):
        assert [error.message for error in strict(schema.schema()).iter_errors(found[topic])] == []
    assert found[TOPICS.source_status("gate")]["state"] == "disabled"
    assert found[TOPICS.info]["engine"]["safe_mode"] is True
    assert found[TOPICS.info]["pages"] == [f"http://127.0.0.1:{box.port}/"]
    assert "homeassistant/device/edge-site-box/config" in found
    assert TOPICS.result("gate") not in found


async def test_what_happens_while_the_broker_is_away_comes_afterwards(
    mosquitto: Mosquitto, start: Any, tmp_path: Path
) -> None:
    box = await asyncio.to_thread(start, mosquitto)
    await asyncio.to_thread(until, "it is heard", lambda: upstream(box)["state"] == "up")
    mosquitto.stop(signal.SIGKILL)
    await asyncio.to_thread(until, "some wait", lambda: upstream(box).get("waiting", 0) >= 4)
    away = upstream(box)
    assert (away["state"], away["code"]) in {("waiting", "refused"), ("connecting", "refused")}
    assert away["reason"]
    assert away["hint"]
    assert box.get("/healthz")[0] == 200  # a broker that is away is no reason for the watchdog
    before = stored(tmp_path / "out")
    mosquitto.start()  # and knows nothing of the box
    async with watching(mosquitto) as watcher:
        await soon(lambda: len(results(watcher)) >= 4)
        told = await heard(watcher, tmp_path / "out", box)
        assert before & told
        found = await asyncio.to_thread(kept, mosquitto)
    assert {TOPICS.status, TOPICS.info, TOPICS.health, TOPICS.source_status("gate")} < set(found)
    assert found[TOPICS.status]["session"] == 1_000_002


async def test_a_box_that_is_killed_is_offline_and_comes_back_with_the_next_number(
    mosquitto: Mosquitto, start: Any, tmp_path: Path
) -> None:
    async with watching(mosquitto) as watcher:
        box = await asyncio.to_thread(start, mosquitto)
        await soon(lambda: len(results(watcher)) >= 3)
        await asyncio.to_thread(box.kill)
        await soon(lambda: watcher.states(TOPICS)[-1][0] == "offline")
        await asyncio.to_thread(box.start)
        await soon(lambda: watcher.states(TOPICS)[-1][0] == "online")
        await heard(watcher, tmp_path / "out", box)
        assert await asyncio.to_thread(box.stop) == 0
        await soon(lambda: watcher.states(TOPICS)[-1][0] == "stopped")
        await asyncio.to_thread(box.start)
        await soon(lambda: watcher.states(TOPICS)[-1][0] == "online")
        await soon(lambda: watcher.values(TOPICS.info)[-1]["session"] == 3_000_001)
        boots = {
            one["boot"]["number"]: one["boot"]["reason"] for one in watcher.values(TOPICS.info)
        }
    assert watcher.states(TOPICS) == [
        ("online", 1_000_001),
        ("offline", 1_000_001),
        ("online", 2_000_001),
        ("stopped", 2_000_001),
        ("online", 3_000_001),
    ]
    assert boots == {1: "first", 2: "crashed", 3: "stopped"}


async def test_a_wrong_password_is_shown_and_a_new_one_is_used_without_a_restart(
    idle_mosquitto: Mosquitto, start: Any, tmp_path: Path
) -> None:
    idle_mosquitto.let_in(box="right")
    idle_mosquitto.start()
    secret = tmp_path / "secrets" / "broker"
    secret.parent.mkdir()
    secret.write_text("hunter2")
    secret.chmod(0o600)
    box = await asyncio.to_thread(
        start, idle_mosquitto, 'user = "box"\npassword = "${secret:broker}"'
    )

    def refused() -> bool:
        return upstream(box).get("code") in {"bad_login", "not_authorized"}

    await asyncio.to_thread(until, "it is refused", refused)
    assert "password" in upstream(box)["hint"]
    assert "hunter2" not in json.dumps(box.status())
    page = box.get("/")[1].decode()
    assert "Refused" in page
    secret.write_text("right")
    await asyncio.to_thread(until, "it is let in", lambda: upstream(box)["state"] == "up")


async def test_a_setting_that_is_asked_for_is_a_command(mosquitto: Mosquitto, start: Any) -> None:
    box = await asyncio.to_thread(start, mosquitto)
    async with watching(mosquitto) as watcher, publishing(mosquitto) as publish:
        state = TOPICS.source_state("gate", "enabled")
        await soon(lambda: watcher.values(state))
        await publish(TOPICS.source_set("gate", "enabled"), b"false")
        await soon(lambda: watcher.values(state)[-1] is False)
        await publish(TOPICS.source_set("gate", "method"), b"fill")
        method = TOPICS.source_state("gate", "method")
        await soon(lambda: watcher.values(method)[-1] == "fill")
        # privacy cannot be lowered from afar: the setting is said once more, as it is
        many = len(watcher.values(method))
        await publish(TOPICS.source_set("gate", "method"), b"blur")
        await soon(lambda: len(watcher.values(method)) > many)
        assert watcher.values(method)[-1] == "fill"
    audit = box.post("/v1/commands/audit.recent", b"{}")[1]["data"]["entries"]
    written = {(one["verb"], one["channel"]) for one in audit}
    assert {("source.disable", "mqtt"), ("privacy.raise", "mqtt")} <= written


@contextlib.asynccontextmanager
async def publishing(broker: Mosquitto) -> AsyncIterator[Any]:
    link = MqttLink(settings_for(broker, client_id="somebody"))
    task = asyncio.create_task(link.run(), name="somebody")

    async def publish(topic: str, payload: bytes) -> None:
        await link.deliver(topic, payload)

    try:
        yield publish
    finally:
        await link.close()
        await asyncio.wait([task])

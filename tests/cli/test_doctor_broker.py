"""Doctor and a real broker."""

from __future__ import annotations

from typing import Any

from edge.cli.doctor import Finding
from edge.cli.doctor_broker import broker, broker_checks
from edge.config.load import loads
from tests.config.test_load import STORE
from tests.ops.mqtt_parts import until
from tests.places import free_port
from tests.servers.mosquitto import Mosquitto, idle_mosquitto, mosquitto
from tests.sinks.upstream.presence_parts import watching

__all__ = ["idle_mosquitto", "mosquitto"]


async def looked(port: int, **more: str) -> Finding:
    lines = "".join(f'{name} = "{value}"\n' for name, value in more.items())
    text = f'[box]\nsite = "harbour"\nnode = "box-7"\n[mqtt]\nurl = "mqtt://127.0.0.1:{port}"\n'
    config = loads(text + lines + STORE, "edge.toml", environ={"HOME": "/", **_secrets(more)})
    assert config.mqtt is not None
    return await broker(config, config.mqtt)


def _secrets(more: dict[str, str]) -> dict[str, Any]:
    return {"EDGE_SECRET_P": "hunter2"} if more else {}


async def test_a_broker_that_takes_a_message_is_well(mosquitto: Mosquitto) -> None:
    async with watching(mosquitto) as watcher:
        found = await looked(mosquitto.port)
        assert (found.state, found.name) == ("ok", "broker")
        assert "MQTT 5" in found.text
        await until(lambda: watcher.heard)
    assert [one.topic for one in watcher.heard] == ["edge/v1/harbour/box-7/event/doctor"]


async def test_nobody_there_is_told_with_a_hint() -> None:
    found = await looked(free_port())
    assert found.state == "fail"
    assert "nobody listens" in found.text
    assert found.hint


async def test_a_wrong_password_is_told_and_not_shown(idle_mosquitto: Mosquitto) -> None:
    idle_mosquitto.let_in(box="right")
    idle_mosquitto.start()
    found = await looked(idle_mosquitto.port, user="box", password="${secret:p}")
    assert found.state == "fail"
    assert "password" in found.hint
    assert "hunter2" not in str(found)


async def test_a_topic_that_is_not_allowed_is_told(idle_mosquitto: Mosquitto) -> None:
    idle_mosquitto.allow("topic read #")
    idle_mosquitto.start()
    found = await looked(idle_mosquitto.port)
    assert found.state == "fail"
    assert "event/doctor" in found.text
    assert "access list" in found.hint


async def test_a_broker_that_keeps_nothing_is_a_doubt(idle_mosquitto: Mosquitto) -> None:
    idle_mosquitto.lines.append("retain_available false")
    idle_mosquitto.start()
    found = await looked(idle_mosquitto.port)
    assert (found.state, "keeps no messages" in found.hint) == ("warn", True)


def test_without_a_broker_nothing_is_looked_at() -> None:
    assert broker_checks(loads(STORE, "edge.toml", environ={"HOME": "/"})) == []

"""Doctor: the broker. Name, network, TLS, login, and whether it takes what the box says."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import Executor
from dataclasses import replace
from uuid import uuid4

from edge.app.broker import settings_of
from edge.cli.doctor import Check, Finding
from edge.config.mqtt import MqttConfig
from edge.config.root import Config
from edge.errors import EdgeError, PartFailed
from edge.ops.mqtt import MqttLink
from edge.ops.mqtt_types import Limits, Login
from edge.sinks.upstream.presence import now
from edge.topics import Topics

_WITHIN = 12.0
"""Seconds for all of it: less than a check may take."""
_SMALL_PACKET = 16 * 1024


def broker_checks(config: Config) -> list[Check]:
    """Return the look at the broker, where there is one."""
    mqtt = config.mqtt
    if mqtt is None:
        return []

    async def look(_: Executor) -> Finding:
        return await broker(config, mqtt)

    return [("broker", look)]


async def broker(config: Config, mqtt: MqttConfig) -> Finding:
    """Connect as the box does, under another client id, and send one message."""
    settings = settings_of(config, mqtt)
    welcome: asyncio.Future[Limits] = asyncio.get_running_loop().create_future()

    def lost(error: PartFailed) -> None:
        if not welcome.done() and error.reason != "version":  # 3.1.1 is tried next
            welcome.set_exception(error)

    def up(limits: Limits) -> None:
        if not welcome.done():
            welcome.set_result(limits)

    # the box may run, and one client id is one connection
    settings = replace(settings, client_id=f"{settings.client_id}-doctor", session_expiry=0)
    login = Login(mqtt.user.reveal(), mqtt.password.reveal())
    link = MqttLink(settings, login=lambda: login, up=up, lost=lost)
    running = asyncio.create_task(link.run(), name="doctor connects")
    about = config.box
    topic = Topics(site=about.site, node=about.node, prefix=mqtt.prefix).event("doctor")
    try:
        async with asyncio.timeout(_WITHIN):
            limits = await welcome
            await link.publish(topic, _message(f"/{about.site}/{about.node}"))
    except TimeoutError:
        hint = "is there a network, and a firewall in the way?"
        return Finding(name="broker", state="fail", text=f"{settings.where}: no answer", hint=hint)
    except EdgeError as error:
        return Finding.of("broker", error)
    finally:
        await link.close()
        running.cancel()
        await asyncio.wait([running])
    return _well(settings.where, topic, limits, login)


def _well(where: str, topic: str, limits: Limits, login: Login) -> Finding:
    who = "with its password" if login.password else "without a password"
    text = f"{where}, MQTT {limits.version}: it lets the box in {who}, and takes {topic}"
    if limits.version == "3.1.1":
        text += " (or throws it away: MQTT 3.1.1 cannot say so)"
    hint = ""
    if not limits.retain:
        hint = "it keeps no messages: who looks there later waits for the next health"
    elif limits.max_packet and limits.max_packet < _SMALL_PACKET:
        hint = f"it takes packets of {limits.max_packet} bytes at most: pictures with many people"
        hint += " make larger ones, which are given up"
    return Finding(name="broker", state="warn" if hint else "ok", text=text, hint=hint)


def _message(origin: str) -> bytes:
    event = {
        "specversion": "1.0",
        "id": uuid4().hex,
        "source": origin,
        "type": "io.edge.doctor.v1",
        "time": now(),
    }
    return json.dumps(event).encode()

"""A presence that runs at a real broker, and somebody who watches what the broker has."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edge.ops.mqtt import MqttLink
from edge.ops.mqtt_types import Limits, Message, Will
from edge.sinks.upstream.presence import Announce, Look, Presence, SourceLook
from edge.topics import Topics
from tests.ops.mqtt_parts import settings_for
from tests.places import need
from tests.servers.mosquitto import Mosquitto

TOPICS = Topics(site="harbour", node="box-7")


def source(state: str = "streaming", *, enabled: bool = True, fps: float = 15.0) -> SourceLook:
    status = {"name": "gate", "state": state, "fps": fps}
    return SourceLook(status=status, settings={"enabled": enabled}, mood=state)


def look(state: str = "ok", **sources: SourceLook) -> Look:
    health = {"state": state, "at": "now"}
    return Look(info={"version": "1"}, health=health, mood=state, sources=sources)


@dataclass
class Life:
    """A box's presence, and its link."""

    presence: Presence
    link: MqttLink
    tasks: list[asyncio.Task[None]]

    async def crash(self) -> None:
        """End without a word."""
        for task in self.tasks:
            task.cancel()
        await asyncio.wait(self.tasks)


@contextlib.asynccontextmanager
async def living(
    broker: Mosquitto,
    *,
    start: int = 1,
    every: float = 60.0,
    announce: Announce | None = None,
    **settings: Any,
) -> AsyncIterator[Life]:
    def will() -> Will:
        return presence.will()

    def up(limits: Limits) -> None:
        presence.up(limits)

    link = MqttLink(settings_for(broker, **settings), will=will, up=up)
    presence = Presence(link, TOPICS, start=start, every=every, announce=announce)
    tasks = [
        asyncio.create_task(link.run(), name="link"),
        asyncio.create_task(presence.run(), name="presence"),
    ]
    life = Life(presence, link, tasks)
    try:
        yield life
    finally:
        await life.crash()


@dataclass
class Watcher:
    """Somebody at the broker who hears everything, from what is kept there on."""

    heard: list[Message] = field(default_factory=list)

    async def take(self, messages: Sequence[Message]) -> None:
        self.heard += messages

    def values(self, topic: str) -> list[Any]:
        """Return what came on a topic, oldest first; None: it was cleared."""
        payloads = [one.payload for one in self.heard if one.topic == topic]
        return [json.loads(payload) if payload else None for payload in payloads]

    def states(self, of: Topics = TOPICS) -> list[tuple[str, int]]:
        """Return what was said of whether a box is there, with the sessions' numbers."""
        return [(one["state"], one["session"]) for one in self.values(of.status)]


@contextlib.asynccontextmanager
async def watching(broker: Mosquitto) -> AsyncIterator[Watcher]:
    watcher, granted = Watcher(), asyncio.Event()
    link = MqttLink(settings_for(broker, client_id="watcher"))
    link.subscribe("#", watcher.take, lambda _: granted.set())
    task = asyncio.create_task(link.run(), name="watcher")
    await asyncio.wait_for(granted.wait(), 10)
    try:
        yield watcher
    finally:
        task.cancel()
        await asyncio.wait([task])


def kept(broker: Mosquitto) -> Mapping[str, Any]:
    """Return what the broker keeps now, by topic, as a stranger is told it."""
    program = need("mosquitto_sub", "mosquitto-clients")
    command = [program, "-h", broker.host, "-p", str(broker.port), "-t", "#", "-F", "%r %t %p"]
    done = subprocess.run(
        [*command, "--retained-only", "-W", "1"], capture_output=True, text=True, check=False
    )
    lines = [line.split(" ", 2) for line in done.stdout.splitlines()]
    return {topic: json.loads(payload) for retained, topic, payload in lines if retained == "1"}

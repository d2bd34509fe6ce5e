"""Presence: what a box says of itself at its broker, for whoever looks there at any time.

::

    connect --will: offline n--> welcome --> online n --> info, health, sources --> stopped n
                                    ^                          | every so often, and on change
                                    `---- n + 1 ---- cut ------'

All of it is retained. ``n``, the session's number, only grows, across restarts too, so that an
``offline`` that comes late cannot be mistaken for news.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from edge.ops.mqtt import MqttLink
from edge.ops.mqtt_types import Limits, Message, Properties, Will
from edge.sinks.upstream.presence_shelf import Shelf
from edge.topics import Topics, level

SESSIONS: Final = 1_000_000
"""Connections that one start of the box may count."""
READ_BACK: Final = 3.0
"""Seconds in which a broker sends what it keeps of sources."""
_GOODBYE: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceLook:
    """How a source is: its message, its settings, and what of it is news when it changes."""

    status: Mapping[str, Any]
    settings: Mapping[str, Any]
    mood: object


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How the box is: messages as ``edge.messages.presence`` has them, but for the session."""

    info: Mapping[str, Any]
    health: Mapping[str, Any]
    #: what of ``health`` is news when it changes
    mood: object
    sources: Mapping[str, SourceLook] = field(default_factory=dict)


Announce: TypeAlias = Callable[[Collection[str], Collection[str]], tuple[str, Mapping[str, Any]]]
"""Makes a further retained message of the sources' names and of those that are gone."""


class Presence:
    """What the broker keeps of one box. On the loop only; ``run`` it in a task.

    Args:
        link: to the broker; it asks ``will`` and tells ``up``.
        topics: of the box.
        start: how many times the box was started, with this one.
        every: seconds between two ``health``.
        announce: one message more, for others who want the box described in their own form.
        spent: told how many bytes each message took.
        clock: seconds that never jump.

    """

    def __init__(
        self,
        link: MqttLink,
        topics: Topics,
        *,
        start: int,
        every: float,
        announce: Announce | None = None,
        spent: Callable[[int], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._link, self._topics, self._every = link, topics, every
        self._announce, self._clock = announce, clock
        self.shelf = Shelf(link, spent=spent, clock=clock)
        #: number of the connection that is, or of the next one
        self.session = start * SESSIONS
        self._welcomed = True
        self._look: Look | None = None
        self._due = clock()
        self._moods: dict[str, object] = {}
        self._gone: set[str] = set()
        self._retains = True
        self._over = False
        self._connected = asyncio.Event()

    # -- asked and told by the link

    def will(self) -> Will:
        """Return what the broker says when the box is gone without a word."""
        if self._welcomed:
            self.session += 1
            self._welcomed = False
        text = json.dumps(self._status("offline"), separators=(",", ":"))
        kind = Properties(content_type="application/json")
        return Will(topic=self._topics.status, payload=text.encode(), properties=kind)

    def up(self, limits: Limits) -> None:
        """Say that the box is there, before anything else is sent; then all the rest anew."""
        if self._over:
            return
        self._welcomed, self._retains = True, limits.retain
        self.shelf.again()
        self._birth()
        self._due = self._clock()
        if self._look is not None:
            self.show(self._look)
        self._connected.set()

    # -- told by the box

    def show(self, look: Look) -> None:
        """Take how the box is now; ask every second. What is no news waits for its time."""
        if self._over:
            return
        before, self._look = self._look, look
        due = self._clock() >= self._due or before is None or before.mood != look.mood
        if due:
            self._due = self._clock() + self._every
            if not self._retains:  # who came meanwhile heard nothing
                self.shelf.again()
            self.shelf.put(self._topics.health, self._signed(look.health))
        self.shelf.put(self._topics.info, self._signed(look.info))
        for name, source in look.sources.items():
            self._show_source(name, source, due=due)
        self._forget(set(self._moods) - set(look.sources))
        if self._announce is not None:
            topic, message = self._announce(look.sources, self._gone)
            self.shelf.put(topic, message)

    def settled(self, source: str, key: str) -> None:
        """Say a setting once more: somebody asked for another one, and may not have got it."""
        self.shelf.again(self._topics.source_state(source, key))

    # -- life

    async def run(self) -> None:
        """Send, and have the broker forget sources of earlier runs, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.shelf.run(), name="presence")
            group.create_task(self._tidy(), name="presence of removed sources")

    async def stop(self) -> None:
        """Say goodbye; nothing is said after it. A broker that is away learns it by the will."""
        if self._over:
            return
        self._over = True
        self.shelf.put(self._topics.status, self._status("stopped"))
        if self._link.status().state == "up":
            await self.shelf.acknowledged(self._topics.status, _GOODBYE)

    def _birth(self) -> None:
        self.shelf.put(self._topics.status, self._status("online"))
        self.shelf.send_now(self._topics.status)

    def _status(self, state: str) -> dict[str, Any]:
        return {"state": state, "session": self.session, "at": now()}

    def _signed(self, message: Mapping[str, Any]) -> dict[str, Any]:
        return {"session": self.session, **message}

    def _show_source(self, name: str, source: SourceLook, *, due: bool) -> None:
        if due or self._moods.get(name) != source.mood or name not in self._moods:
            self._moods[name] = source.mood
            self.shelf.put(self._topics.source_status(name), self._signed(source.status))
        for key, value in source.settings.items():
            self.shelf.put(self._topics.source_state(name, key), value)
        self._gone.discard(level(name))

    def _forget(self, names: Collection[str]) -> None:
        for name in names:
            del self._moods[name]
            self._gone.add(level(name))
            place = f"{self._topics.base}/source/{level(name)}/"
            for topic in self.shelf.topics:
                if topic.startswith(place):
                    self.shelf.clear(topic)

    async def _tidy(self) -> None:
        """Have the broker forget what it keeps of sources that an earlier run had."""
        base = self._topics.base
        filters = (f"{base}/source/+/status", f"{base}/source/+/state/+")
        found: set[str] = set()

        async def take(messages: Sequence[Message]) -> None:
            found.update(message.topic for message in messages if message.payload)

        while True:
            await self._connected.wait()
            self._connected.clear()
            session = self.session
            for each in (*filters, *filters):
                # twice: a run that died here left its subscription, and an old one hears nothing
                self._link.subscribe(each, take)
            await asyncio.sleep(READ_BACK)
            for each in filters:
                self._link.unsubscribe(each)
            if self._look is not None and session == self.session and not self._over:
                break
        for topic in found - self.shelf.topics:
            self._gone.add(topic.removeprefix(f"{base}/source/").partition("/")[0])
            self.shelf.clear(topic)


def now() -> str:
    """Return the time as messages have it: UTC, with milliseconds."""
    return moment(datetime.now(UTC))


def moment(when: datetime) -> str:
    """Write a time as messages have it."""
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

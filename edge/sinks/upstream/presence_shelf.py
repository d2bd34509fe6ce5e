"""The shelf: what the broker keeps of a box. One message a topic, the newest, until it has that.

Nothing of it waits on the disk: after a restart all of it is made anew.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from edge.errors import EdgeError, PartFailed, Rejected, TryLater
from edge.ops.mqtt import MqttLink
from edge.ops.mqtt_types import Properties

log = logging.getLogger(__name__)

PACE: Final = 1.0
"""Seconds between two messages on one topic; what changes faster is coalesced."""
_JSON: Final = Properties(content_type="application/json")
_NEVER: Final = float("-inf")


@dataclass(slots=True)
class _Kept:
    """What a topic is to hold."""

    #: empty: nothing any more
    payload: bytes
    #: what was sent last on this connection; None: nothing yet
    sent: bytes | None = None
    at: float = _NEVER
    answer: asyncio.Future[None] | None = None
    refused: str = ""


class Shelf:
    """Retained messages of one box. On the loop only; ``run`` it in a task.

    Args:
        link: to the broker.
        spent: told how many bytes each message took.
        clock: seconds that never jump.

    """

    def __init__(
        self,
        link: MqttLink,
        *,
        spent: Callable[[int], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._link, self._spent, self._clock = link, spent, clock
        self._kept: dict[str, _Kept] = {}
        self._news = asyncio.Event()

    @property
    def topics(self) -> set[str]:
        """Return those that hold something."""
        return {topic for topic, kept in self._kept.items() if kept.payload}

    def put(self, topic: str, message: Any) -> None:
        """Have the broker keep a JSON value there. The same one again is sent only once."""
        self._put(topic, json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode())

    def clear(self, topic: str) -> None:
        """Have the broker forget what is kept there."""
        self._put(topic, b"")

    def again(self, topic: str = "") -> None:
        """Send a topic once more, or all of them: the broker may have forgotten."""
        for name, kept in self._kept.items():
            if not topic or name == topic:
                kept.sent, kept.at = None, _NEVER
        self._news.set()

    def send_now(self, topic: str) -> None:
        """Send a topic at once where the link takes it; else it waits as others do."""
        self._send(topic, self._kept[topic])

    async def acknowledged(self, topic: str, within: float) -> bool:
        """Wait until the broker has what is to be kept there, ``within`` seconds at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                kept = self._kept.get(topic)
                while kept is not None and kept.sent != kept.payload:
                    await self._link.room()
                    self._send(topic, kept)
                if kept is None or kept.answer is None:
                    return True
                await asyncio.wait({kept.answer})
                return kept.answer.exception() is None
        return False

    async def run(self) -> None:
        """Send what is new until cancelled."""
        while True:
            await self._link.room()
            found = self._next()
            pause = None if found is None else found[2] - self._clock()
            if found is not None and pause is not None and pause <= 0:
                self._send(found[0], found[1])
                continue
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._news.wait()

    def status(self) -> Mapping[str, str]:
        """Return what the broker refuses to keep, and why."""
        return {topic: kept.refused for topic, kept in self._kept.items() if kept.refused}

    def _put(self, topic: str, payload: bytes) -> None:
        kept = self._kept.setdefault(topic, _Kept(payload))
        kept.payload = payload
        self._news.set()

    def _next(self) -> tuple[str, _Kept, float] | None:
        """Return what is to be sent next, and when."""
        waiting = [
            (topic, kept, kept.at + PACE)
            for topic, kept in self._kept.items()
            if kept.sent != kept.payload
        ]
        return min(waiting, key=lambda one: one[2], default=None)

    def _send(self, topic: str, kept: _Kept) -> None:
        kept.at, payload = self._clock(), kept.payload
        try:
            kept.answer = self._link.publish(topic, payload, retain=True, properties=_JSON)
        except Rejected as error:  # too large for this broker: not before it is another one
            kept.sent, kept.answer = payload, None
            self._refused(topic, error)
            return
        except (PartFailed, TryLater):
            kept.sent, kept.answer = None, None
            return
        kept.sent = payload
        self._spent(len(topic) + len(payload))
        kept.answer.add_done_callback(partial(self._answered, topic, payload))

    def _answered(self, topic: str, payload: bytes, answer: asyncio.Future[None]) -> None:
        kept = self._kept.get(topic)
        error = None if answer.cancelled() else answer.exception()
        if kept is None:
            return
        if isinstance(error, EdgeError):
            if error.status:
                self._refused(topic, error)
            return  # else the connection ended, and all are sent again with the next one
        kept.refused = ""
        if not payload and not kept.payload:
            del self._kept[topic]

    def _refused(self, topic: str, error: EdgeError) -> None:
        kept = self._kept[topic]
        if kept.refused != str(error):
            log.warning("the broker does not keep %s: %s. %s", topic, error, error.hint)
        kept.refused = str(error)

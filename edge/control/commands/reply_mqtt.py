"""Answers to commands on their way to the broker: in order, bounded, over reconnects."""

from __future__ import annotations

import asyncio
import base64
import binascii
import heapq
import itertools
import logging
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from edge.control.commands.envelope import Failed, read_object
from edge.control.commands.signed import is_signed
from edge.errors import EdgeError, PartFailed, TryLater
from edge.ops.mqtt import MqttLink
from edge.ops.mqtt_types import NO_PROPERTIES, Properties

log = logging.getLogger(__name__)

MOST: Final = 1000
"""Answers that wait; beyond that the oldest is given up: who asks again with its id gets it."""
MOST_PROGRESS: Final = 100
"""With so many waiting, progress is not told."""
ARRIVES_WITHIN: Final = 10.0
"""Seconds that a command waits for its answer's acknowledgement, before it is acknowledged
itself."""
EXPIRY: Final = 3600
"""Seconds after which nobody waits for an answer any more."""


@dataclass(frozen=True, slots=True)
class Where:
    """Where answers go."""

    topic: str = ""
    correlation: bytes = b""


@dataclass(order=True, slots=True)
class _Answer:
    due: float
    number: int
    where: Where = field(compare=False)
    body: bytes = field(compare=False)
    retain: bool = field(compare=False)
    last: bool = field(compare=False)
    done: asyncio.Future[None] = field(compare=False)


class Answers:
    """Sends answers one after the other.

    Args:
        link: to the broker.

    """

    def __init__(self, link: MqttLink) -> None:
        self._link = link
        self._waiting: list[_Answer] = []
        self._numbers = itertools.count()
        self._news = asyncio.Event()
        self.counts: Counter[str] = Counter()

    def put(
        self, where: Where, body: bytes, *, last: bool = True, retain: bool = False, wait: float = 0
    ) -> asyncio.Future[None]:
        """Send an answer, in ``wait`` seconds; done when the broker has it, or it is given up."""
        loop = asyncio.get_running_loop()
        answer = _Answer(
            loop.time() + wait if wait else 0.0,
            next(self._numbers),
            where,
            body,
            retain,
            last,
            loop.create_future(),
        )
        if not last and len(self._waiting) >= MOST_PROGRESS:
            self._give_up(answer)
            return answer.done
        heapq.heappush(self._waiting, answer)
        if len(self._waiting) > MOST:
            oldest = min(self._waiting, key=lambda one: one.number)
            self._waiting.remove(oldest)
            heapq.heapify(self._waiting)
            self._give_up(oldest)
        self._news.set()
        return answer.done

    async def arrived(self, answer: asyncio.Future[None]) -> None:
        """Wait until the broker has an answer, for a while."""
        with suppress(TimeoutError):
            async with asyncio.timeout(ARRIVES_WITHIN):
                await asyncio.wait({answer})

    async def run(self) -> None:
        """Send what comes, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            self._news.clear()
            pause = self._waiting[0].due - loop.time() if self._waiting else None
            if pause is None or pause > 0:
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._news.wait()
                continue
            await self._send(heapq.heappop(self._waiting))

    async def _send(self, answer: _Answer) -> None:
        properties = NO_PROPERTIES
        if answer.body:
            properties = Properties(
                content_type="application/json",
                expiry=EXPIRY,
                correlation=answer.where.correlation,
            )
        await self._link.room()
        try:
            sent = self._link.publish(
                answer.where.topic, answer.body, retain=answer.retain, properties=properties
            )
        except (PartFailed, TryLater):
            self._again(answer)
        except EdgeError as error:
            log.warning("the answer on %s cannot be sent: %s", answer.where.topic, error)
            self._give_up(answer)
        else:
            sent.add_done_callback(lambda sent: self._ended(answer, sent))

    def _ended(self, answer: _Answer, sent: asyncio.Future[None]) -> None:
        error = None if sent.cancelled() else sent.exception()
        if isinstance(error, PartFailed | TryLater) and not error.status:
            self._again(answer)  # the connection ended first
            return
        if error is not None:
            log.warning("the broker refuses the answer on %s: %s", answer.where.topic, error)
        self.counts["answers"] += 1
        if not answer.done.done():
            answer.done.set_result(None)

    def _again(self, answer: _Answer) -> None:
        if answer.last:
            heapq.heappush(self._waiting, answer)
            self._news.set()
        else:
            self._give_up(answer)

    def _give_up(self, answer: _Answer) -> None:
        self.counts["given up"] += 1
        if not answer.done.done():
            answer.done.set_result(None)


def wanted_topic(body: bytes) -> str:
    """Return the ``reply_to`` of an envelope, signed or not: for MQTT 3.1.1. Empty: none."""
    try:
        given = read_object(body)
        if is_signed(given):
            given = read_object(base64.b64decode(str(given["signed"]), validate=True))
    except (Failed, binascii.Error, ValueError):
        return ""
    said = given.get("reply_to", "")
    return said if isinstance(said, str) else ""

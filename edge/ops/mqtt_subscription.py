"""A subscription: what came for it waits until its taker has it safe, and is acknowledged."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from paho.mqtt.client import topic_matches_sub

from edge.errors import PartFailed, Rejected, TryLater
from edge.ops.backoff import Backoff
from edge.ops.mqtt_types import Message

log = logging.getLogger(__name__)

Take = Callable[[Sequence[Message]], Awaitable[None]]
"""Is given what waits, oldest first, and returns when all of it is safe: then it is acknowledged.

It may be given a message again, marked ``dup`` or not. ``TryLater`` and ``PartFailed``: the same
messages are given again later, and the broker is not told. ``Rejected``: none of them ever; they
are acknowledged and counted. Anything else is a bug and ends the link's ``run``.
"""
Told = Callable[[PartFailed | None], None]
"""Is told what the broker says to a subscription: None, it is granted; else why not."""

MOST_WAITING: Final = 1024
MOST_WAITING_BYTES: Final = 64 * 1024 * 1024
"""More than MQTT 5 lets come before it is acknowledged; MQTT 3.1.1 has no limit of its own."""
MOST_BATCH: Final = 256
FIRST_WAIT: Final = 0.5
LONGEST_WAIT: Final = 30.0


class Subscription:
    """A filter, who takes what matches it, and what waits.

    Args:
        topic: the filter, with wildcards, or ``$share/GROUP/FILTER``.
        take: gets the messages.
        told: hears of the broker's answers.
        rest: of whoever took it before.

    """

    def __init__(self, topic: str, take: Take, told: Told, rest: Sequence[Message] = ()) -> None:
        self.topic, self.told = topic, told
        self._take = take
        self._filter = topic.split("/", 2)[2] if topic.startswith("$share/") else topic
        self._waiting = deque(rest)
        #: what is being taken
        self._batch: Sequence[Message] = ()
        self._bytes = sum(len(message.payload) for message in rest)
        self._bell = asyncio.Event()
        #: why the broker refused it; None: it did not
        self.refused: PartFailed | None = None
        #: why what waits is not taken; None: it is
        self.held: TryLater | PartFailed | None = None
        self.counts: Counter[str] = Counter()
        self._bell.set()

    def wants(self, topic: str) -> bool:
        """Tell whether a message of that topic is for it."""
        return topic_matches_sub(self._filter, topic)

    def put(self, message: Message) -> bool:
        """Keep a message until it is taken; False: there is no room."""
        size = len(message.payload)
        if len(self._waiting) >= MOST_WAITING or self._bytes + size > MOST_WAITING_BYTES:
            self.counts["dropped"] += 1
            return False
        self._waiting.append(message)
        self._bytes += size
        self._bell.set()
        return True

    def forget(self, connection: int) -> None:
        """Drop what came by earlier connections and will come again: the broker has the session."""
        self._waiting = deque(
            message
            for message in self._waiting
            if not message.qos or message.connection == connection
        )
        self._bytes = sum(len(message.payload) for message in self._waiting)

    def rest(self) -> Sequence[Message]:
        """Return what came and is not known to be safe, oldest first; nobody works any more."""
        return (*self._batch, *self._waiting)

    async def work(self, ack: Callable[[Message], None]) -> None:
        """Hand over what comes, for ever."""
        while True:
            await self._bell.wait()
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST_BATCH))]
            if not batch:
                self._bell.clear()
                continue
            self._bytes -= sum(len(message.payload) for message in batch)
            self._batch = batch
            await self._hand_over(batch)
            self._batch = ()
            for message in batch:
                ack(message)

    async def _hand_over(self, batch: Sequence[Message]) -> None:
        backoff = Backoff(FIRST_WAIT, LONGEST_WAIT)
        while True:
            try:
                await self._take(batch)
            except (TryLater, PartFailed) as error:
                self.held = error
                await asyncio.sleep(max(error.after, backoff.next()))
                continue
            except Rejected as error:
                self.counts["rejected"] += len(batch)
                log.warning("messages of %s are set aside: %s", self.topic, error)
            self.held = None
            self.counts["taken"] += len(batch)
            return

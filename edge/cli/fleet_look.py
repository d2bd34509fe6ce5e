"""Looking at a fleet: what the broker keeps, until all of it is here, and what comes after."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from functools import partial
from typing import Final

from edge.cli.fleet_boxes import Fleet
from edge.errors import PartFailed
from edge.ops.mqtt import MqttLink
from edge.ops.mqtt_types import Message

QUIET: Final = 0.5
"""Seconds without a topic that is new, after which what was kept is all here."""
_TICK: Final = 0.05


class Look:
    """Subscribes to what a fleet keeps, and knows when it has come.

    A broker sends what it keeps after its answer to a subscription, and most of them before they
    answer the next one. So a last subscription, to a topic on which nobody says anything, marks
    the end; and as that order is promised by nobody, it must be quiet then. Live messages do not
    disturb the quiet: their topics are no new ones.

    Args:
        link: with subscriptions of QoS 0, of which a broker queues more.
        fleet: takes what comes.
        filters: what to subscribe to.

    """

    def __init__(self, link: MqttLink, fleet: Fleet, filters: Collection[str]) -> None:
        self._link, self._fleet, self._filters = link, fleet, filters
        self._last = time.monotonic()
        self._answers: dict[str, PartFailed | None] = {}
        self._marker = f"{link.status().client_id}/end"
        #: something came since it was cleared
        self.news = asyncio.Event()

    async def all(self, within: float) -> bool:
        """Wait until all of it is here; False: it was still coming after ``within`` seconds.

        Raises:
            PartFailed: the broker refuses a subscription.

        """
        began = time.monotonic()
        for each in [*self._filters, self._marker]:
            self._link.subscribe(each, self._take, partial(self._told, each))
        while not self._is_all():
            if time.monotonic() - began > within:
                return False
            await asyncio.sleep(_TICK)
        return True

    def end(self) -> None:
        """Look no more."""
        for each in [*self._filters, self._marker]:
            self._link.unsubscribe(each)

    def _is_all(self) -> bool:
        for each in self._filters:
            refused = self._answers.get(each)
            if refused is not None:
                raise refused
        return self._marker in self._answers and time.monotonic() - self._last >= QUIET

    def _told(self, each: str, error: PartFailed | None) -> None:
        self._answers[each] = error
        self._last = time.monotonic()

    async def _take(self, messages: Sequence[Message]) -> None:
        for message in messages:
            if self._fleet.put(message.topic, message.payload):
                self._last = time.monotonic()
        self.news.set()

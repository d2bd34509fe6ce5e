"""The ways in: ``offer`` for live frames, ``accept`` for what must not be lost.

::

    offer  --> [ newest frame ]  a source \
    offer  --> [ newest frame ]  a source  >-- take(), one source after the other
    accept --> [ oldest first ]  a source /

A live source has room for one frame: a newer one takes its place, and the older one is settled as
dropped. A kept source has room for a few: ``accept`` waits when it is full. ``take`` goes round the
sources that have something, so that a busy camera cannot starve a quiet one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from edge.contracts import Picture
from edge.event import Event, Outcome
from edge.ops.metrics import Metrics

Settle = Callable[[Event[Picture], Outcome, str], Awaitable[None]]

KEPT_ROOM = 8
"""Pictures of one kept source that wait in a lane; its source holds the rest."""


@dataclass(frozen=True, slots=True)
class Item:
    """An event under way, with whom to tell how it ended."""

    event: Event[Picture]
    settle: Settle
    live: bool


@dataclass(slots=True)
class _Lane:
    waiting: deque[Item] = field(default_factory=deque)
    room: asyncio.Event = field(default_factory=asyncio.Event)


class Lanes:
    """The events that wait, by source. Everything runs on the loop; nothing here blocks it."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._lanes: dict[str, _Lane] = {}
        #: names of the sources that have something, each once, in the order of their turns
        self._turns: dict[str, None] = {}
        self._something = asyncio.Event()
        self._closed = False

    def __len__(self) -> int:
        return sum(len(lane.waiting) for lane in self._lanes.values())

    async def offer(self, event: Event[Picture], settle: Settle) -> None:
        """Put a live frame in; it takes the place of an older one, which is settled as dropped."""
        if self._closed:
            await self._drop(Item(event, settle, live=True), "stopping")
            return
        lane = self._lane(event)
        older = lane.waiting.pop() if lane.waiting else None
        self._push(lane, Item(event, settle, live=True))
        if older is not None:
            await self._drop(older, "newer")

    async def accept(self, event: Event[Picture], settle: Settle) -> None:
        """Put a picture in that must end with an outcome; wait while its source's lane is full."""
        lane = self._lane(event)
        while len(lane.waiting) >= KEPT_ROOM:
            lane.room.clear()
            await lane.room.wait()
        self._push(lane, Item(event, settle, live=False))

    async def take(self) -> Item:
        """Return the next event, one source after the other; wait for one."""
        while not self._turns:
            self._something.clear()
            await self._something.wait()
        name = next(iter(self._turns))
        del self._turns[name]
        lane = self._lanes[name]
        item = lane.waiting.popleft()
        lane.room.set()
        if lane.waiting:
            self._turns[name] = None
        else:
            del self._lanes[name]
        return item

    async def close(self) -> None:
        """Take no more live frames, and settle those that wait as dropped; kept ones stay."""
        self._closed = True
        for lane in list(self._lanes.values()):
            for item in [item for item in lane.waiting if item.live]:
                lane.waiting.remove(item)
                await self._drop(item, "stopping")
        self._lanes = {name: lane for name, lane in self._lanes.items() if lane.waiting}
        self._turns = {name: None for name in self._turns if name in self._lanes}

    async def _drop(self, item: Item, reason: str) -> None:
        name = item.event.source.rpartition("/")[2]
        self._metrics.pictures_dropped.labels(name, reason).inc()
        await item.settle(item.event, Outcome.DROPPED, reason)

    def _lane(self, event: Event[Picture]) -> _Lane:
        return self._lanes.setdefault(event.source, _Lane())

    def _push(self, lane: _Lane, item: Item) -> None:
        # While ``accept`` waited, the emptied lane may have been forgotten: it comes back as it is.
        self._lanes[item.event.source] = lane
        self._turns[item.event.source] = None
        lane.waiting.append(item)
        self._something.set()

"""The ways in: ``offer`` for live frames, ``accept`` for what must not be lost.

::

    offer  --> [ newest frame  ]  a source \
    offer  --> [ a few frames  ]  a source  >-- take(), one source after the other
    accept --> [ oldest first  ]  a source /

How many frames of a live source wait, and which one gives way when there is no room, is its
``LanePolicy``; what gave way is settled as dropped, by name. A kept source has room for a few:
``accept`` waits when it is full. ``take`` goes round the sources that have something, so that a
busy camera cannot starve a quiet one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal

from edge.contracts import Picture
from edge.event import Event, Outcome
from edge.ops.metrics import Metrics

Settle = Callable[[Event[Picture], Outcome, str], Awaitable[None]]

KEPT_ROOM = 8
"""Pictures of one kept source that wait in a lane; its source holds the rest."""


@dataclass(frozen=True, slots=True)
class LanePolicy:
    """How many live frames of one source wait, and what happens to one too many.

    Raises:
        ValueError: room for less than one frame, or ``latest`` with room for more than one.

    """

    #: ``latest`` and ``drop-oldest``: the oldest gives way (reason ``newer``). ``drop-newest``: the
    #: new one is dropped (reason ``full``). ``block``: ``offer`` waits until there is room.
    queue: Literal["latest", "drop-oldest", "drop-newest", "block"] = "latest"
    size: int = 1

    def __post_init__(self) -> None:
        if self.size < 1 or (self.queue == "latest" and self.size > 1):
            expected = "1" if self.queue == "latest" else "1 or more"
            raise ValueError(f"a {self.queue} lane has room for {expected}, not {self.size}")


LATEST = LanePolicy()
"""What holds for a source that nobody said anything about."""


@dataclass(frozen=True, slots=True)
class Item:
    """An event under way, with whom to tell how it ended."""

    event: Event[Picture]
    settle: Settle
    live: bool


@dataclass(slots=True)
class _Lane:
    waiting: deque[Item] = field(default_factory=deque)
    #: set when something was taken, or when the lanes were closed
    room: asyncio.Event = field(default_factory=asyncio.Event)
    #: whoever waits for room stands in this line: first come, first in
    line: asyncio.Lock = field(default_factory=asyncio.Lock)
    #: how many stand in it; the lane is not forgotten meanwhile
    in_line: int = 0


class Lanes:
    """The events that wait, by source. Everything runs on the loop; nothing here blocks it.

    Args:
        metrics: counts what is dropped, by source and reason.
        policy_of: the policy of a source by its own name (the last part of ``event.source``);
            asked for each live frame, so that a change counts at once. Without it: ``LATEST``.

    """

    def __init__(
        self, metrics: Metrics, policy_of: Callable[[str], LanePolicy] = lambda _: LATEST
    ) -> None:
        self._metrics = metrics
        self._policy_of = policy_of
        self._lanes: dict[str, _Lane] = {}
        #: names of the sources that have something, each once, in the order of their turns
        self._turns: dict[str, None] = {}
        self._something = asyncio.Event()
        self._closed = False

    def __len__(self) -> int:
        return sum(len(lane.waiting) for lane in self._lanes.values())

    async def offer(self, event: Event[Picture], settle: Settle) -> None:
        """Put a live frame in, as its source's policy says; only ``block`` waits.

        What gives way is settled as dropped: ``newer`` (a newer one took its place), ``full`` (no
        room for this one), ``stopping`` (the lanes are closed, or the wait was cancelled).
        """
        item = Item(event, settle, live=True)
        policy = self._policy_of(_name(event))
        if policy.queue == "block" and not self._closed:
            await self._push_when_there_is_room(item, policy.size)
        elif self._closed:
            await self._drop(item, "stopping")
        elif policy.queue == "drop-newest" and len(self._lane(event).waiting) >= policy.size:
            await self._drop(item, "full")
        else:
            waiting = self._lane(event).waiting
            older = [waiting.popleft() for _ in range(len(waiting) + 1 - policy.size)]
            self._push(item)
            for one in older:
                await self._drop(one, "newer")

    async def accept(self, event: Event[Picture], settle: Settle) -> None:
        """Put a picture in that must end with an outcome; wait while its source's lane is full."""
        await self._wait_for_room(event, KEPT_ROOM, even_if_closed=True)
        self._push(Item(event, settle, live=False))

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
        self._forget(name)
        return item

    async def close(self) -> None:
        """Take no more live frames, and settle those that wait as dropped; kept ones stay.

        Whoever waits in ``offer`` for room settles its own frame as dropped.
        """
        self._closed = True
        for name, lane in list(self._lanes.items()):
            live = [item for item in lane.waiting if item.live]
            lane.waiting = deque(item for item in lane.waiting if not item.live)
            if not lane.waiting:
                self._turns.pop(name, None)
            lane.room.set()
            self._forget(name)
            for item in live:
                await self._drop(item, "stopping")

    async def _push_when_there_is_room(self, item: Item, size: int) -> None:
        try:
            await self._wait_for_room(item.event, size, even_if_closed=False)
        except asyncio.CancelledError:
            await self._drop(item, "stopping")  # its source is being closed
            raise
        if self._closed:
            await self._drop(item, "stopping")
        else:
            self._push(item)

    async def _wait_for_room(
        self, event: Event[Picture], size: int, *, even_if_closed: bool
    ) -> None:
        """Return when fewer than ``size`` wait; nothing else runs before the caller goes on."""
        lane = self._lane(event)
        if len(lane.waiting) < size and not lane.in_line:
            return
        lane.in_line += 1
        try:
            async with lane.line:
                while len(lane.waiting) >= size and (even_if_closed or not self._closed):
                    lane.room.clear()
                    await lane.room.wait()
        finally:
            lane.in_line -= 1
            self._forget(event.source)

    async def _drop(self, item: Item, reason: str) -> None:
        self._metrics.pictures_dropped.labels(_name(item.event), reason).inc()
        await item.settle(item.event, Outcome.DROPPED, reason)

    def _lane(self, event: Event[Picture]) -> _Lane:
        lane = self._lanes.get(event.source)
        if lane is None:
            lane = self._lanes[event.source] = _Lane()
        return lane

    def _forget(self, name: str) -> None:
        """Forget a lane in which nothing and nobody waits: sources come and go."""
        lane = self._lanes.get(name)
        if lane is not None and not lane.waiting and not lane.in_line:
            del self._lanes[name]

    def _push(self, item: Item) -> None:
        self._lane(item.event).waiting.append(item)
        self._turns[item.event.source] = None
        self._something.set()


def _name(event: Event[Picture]) -> str:
    return event.source.rpartition("/")[2]

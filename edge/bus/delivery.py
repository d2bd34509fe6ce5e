"""Delivery: hands each event to the handler, and sees to it that each ends exactly once.

::

    lanes --take--> [ in hand, at most n ] --hand on--> outcome --settle--> source

For pictures, which live in memory only; ``worker`` does the same for what is in the journal.
What was raised decides what happens next (see ``errors``). One of the two places that
catch everything: an unforeseen exception sets the event aside, and ten in a row end the process.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from edge.bus.lanes import Item, Lanes
from edge.contracts import Picture
from edge.errors import EdgeError, Fatal, PartFailed, Rejected, TryLater, Withheld
from edge.event import Event, Outcome
from edge.ops.backoff import Backoff
from edge.ops.metrics import Metrics

log = logging.getLogger(__name__)

BUGS_IN_A_ROW = 10
RETRY_FIRST, RETRY_MOST = 0.2, 10.0
"""Seconds between two tries of a picture that must not be lost."""
MOST_FAILURES = 5
"""A picture under which the engine broke as many times is poison: it is set aside."""

HandOn = Callable[[Event[Picture]], Awaitable[Outcome]]
"""Sees one picture through (``bus.pictures``), and raises as handlers do."""

End = tuple[Outcome, str]
"""How an event ended, and why."""


class Delivery:
    """The worker of the path. ``run`` it in a task; ``drain`` before it is cancelled.

    Args:
        lanes: where events come from.
        hand_on: what happens to each.
        in_hand: how many may be under way at once; may be changed.
        broke: told of every ``PartFailed``, so that the part's supervisor can act.

    """

    def __init__(
        self,
        lanes: Lanes,
        hand_on: HandOn,
        metrics: Metrics,
        *,
        in_hand: int,
        broke: Callable[[PartFailed], None],
    ) -> None:
        self._lanes = lanes
        self._hand_on = hand_on
        self._metrics = metrics
        self._broke = broke
        self.in_hand = in_hand
        self._in_hand: set[asyncio.Task[None]] = set()
        self._bugs = 0
        self._last_step = time.monotonic()

    @property
    def busy(self) -> bool:
        """Whether anything waits or is under way."""
        return bool(self._in_hand or len(self._lanes))

    def age(self) -> float | None:
        """Return how many seconds ago an event last ended; None while there is nothing to do."""
        return time.monotonic() - self._last_step if self._in_hand else None

    async def run(self) -> None:
        """Deliver until cancelled.

        Raises:
            Fatal: ten unforeseen exceptions in a row.

        """
        async with asyncio.TaskGroup() as group:
            while True:
                while len(self._in_hand) >= self.in_hand:
                    await asyncio.wait(self._in_hand, return_when=asyncio.FIRST_COMPLETED)
                item = await self._lanes.take()
                if not self._in_hand:
                    self._last_step = time.monotonic()
                task = group.create_task(self._deliver(item), name=f"deliver {item.event.subject}")
                self._in_hand.add(task)
                task.add_done_callback(self._ended)

    async def drain(self, budget: float) -> int:
        """Wait at most ``budget`` seconds for what waits and is in hand; return what is left."""
        loop = asyncio.get_running_loop()
        end = loop.time() + budget
        while self.busy and loop.time() < end:
            if self._in_hand:
                await asyncio.wait(self._in_hand, timeout=max(0.0, end - loop.time()))
            await asyncio.sleep(0)
        return len(self._in_hand) + len(self._lanes)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._in_hand.discard(task)
        self._last_step = time.monotonic()

    async def _deliver(self, item: Item) -> None:
        outcome, reason = await self._try_until_it_ends(item)
        if outcome is Outcome.DROPPED:
            name = item.event.source.rpartition("/")[2]
            self._metrics.pictures_dropped.labels(name, reason).inc()
        await item.settle(item.event, outcome, reason)

    async def _try_until_it_ends(self, item: Item) -> End:
        backoff, failures = Backoff(RETRY_FIRST, RETRY_MOST), 0
        while True:
            end = await self._try(item)
            if isinstance(end, tuple):
                return end
            if isinstance(end, PartFailed):
                self._broke(end)
                failures += 1
            if item.live:
                return Outcome.DROPPED, end.reason
            if failures >= MOST_FAILURES:
                return self._set_aside(item, Withheld(str(end), reason=end.reason))
            await asyncio.sleep(max(backoff.next(), end.after))

    async def _try(self, item: Item) -> End | TryLater | PartFailed:
        try:
            outcome = await self._hand_on(item.event)
        except Rejected as error:
            return self._set_aside(item, error)
        except (TryLater, PartFailed) as error:
            return error
        except Fatal:
            raise
        except Exception as error:  # noqa: BLE001 (one of the two places that catch everything)
            return self._met_bug(item, error)
        self._bugs = 0
        return outcome, ""

    def _set_aside(self, item: Item, error: EdgeError) -> End:
        self._bugs = 0
        name = item.event.source.rpartition("/")[2]
        withheld = isinstance(error, Withheld)
        counter = self._metrics.pictures_withheld if withheld else self._metrics.pictures_rejected
        counter.labels(name, error.reason).inc()
        if not item.live:
            log.warning("%s: %s", item.event.subject, error, extra={"reason": error.reason})
        return Outcome.REJECTED, f"{error.reason}: {error}"

    def _met_bug(self, item: Item, error: Exception) -> End:
        self._bugs += 1
        self._metrics.bugs.inc()
        log.error("an event met a bug: %s", item.event.subject, exc_info=error)
        if self._bugs >= BUGS_IN_A_ROW:
            raise Fatal(f"the path met {self._bugs} bugs in a row", hint="see the log")
        return Outcome.REJECTED, "bug"

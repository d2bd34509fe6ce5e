"""What is done with a notification that a server sends here: journal it, or set it aside."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from edge.contracts import Intake
from edge.errors import Rejected
from edge.event import WireEvent
from edge.frame import ObjectRef
from edge.ops.metrics import Metrics
from edge.sources.buckets.records import object_of, read
from edge.sources.buckets.records_s3 import left_behind
from edge.sources.buckets.rule import BucketRule, is_removal
from edge.sources.buckets.unreadable import KEPT, MALFORMED, set_aside

__all__ = ["KEPT", "MALFORMED", "ORIGIN", "S3Hook"]

ORIGIN: Final = "/hooks/s3"
LARGE: Final = 64 * 1024
"""A body of more bytes is read beside the loop: a thousand records take 50 ms."""


class S3Hook:
    """Takes notifications of object stores, in any form that ``records`` knows.

    Args:
        intake: the bus.
        buckets: what is wanted of a bucket; None: nothing, it is none of ours.
        tokens: what callers may show; none: whoever may call the web server may call here.
        noticed: told of each object whose event is on disk, so that a sweep need not ask for it.
        metrics: where notifications are counted by what became of them; None: nowhere.

    """

    def __init__(
        self,
        intake: Intake,
        buckets: Callable[[str], BucketRule | None],
        *,
        tokens: frozenset[str] = frozenset(),
        noticed: Callable[[ObjectRef], None] = lambda _: None,
        metrics: Metrics | None = None,
    ) -> None:
        self._intake, self._buckets = intake, buckets
        self._noticed, self._metrics = noticed, metrics
        self.tokens = tokens

    async def take(self, body: bytes) -> int:
        """Have the pictures that a notification speaks of on disk, as events.

        What is not wanted (other buckets, keys and happenings) is passed over. A body that cannot
        be read becomes one event of type ``MALFORMED``: its sender would send it for ever, and hold
        up all others behind it.

        Returns:
            How many events the journal has now, or had already.

        Raises:
            TryLater: nothing was taken; the sender has to keep it.

        """
        if not body.strip():
            return 0
        try:
            found = await asyncio.to_thread(read, body) if len(body) > LARGE else read(body)
            told = [(left_behind(one), object_of(one)) for one in found]
            wanted = [(event, what) for event, what in told if self._wants(event, what)]
            fresh = await self._accept([event for event, _ in wanted])
        except Rejected as error:
            self._count("malformed", 1)
            return await set_aside(self._intake, ORIGIN, body, error)
        for event, what in wanted:
            if not is_removal(event):
                self._noticed(what)
        self._count("accepted", fresh)
        self._count("duplicate", len(wanted) - fresh)
        self._count("unwanted", len(found) - len(wanted))
        return len(wanted)

    async def _accept(self, events: list[WireEvent]) -> int:
        """Have events on disk; return how many were new."""
        if not events:
            return 0
        return sum(one.new for one in await self._intake.accept(events))

    def _wants(self, event: WireEvent, what: ObjectRef) -> bool:
        rule = self._buckets(what.bucket)
        return rule is not None and rule.wants(event, what)

    def _count(self, outcome: str, count: int) -> None:
        if self._metrics is not None and count:
            self._metrics.notifications.labels(outcome).inc(count)

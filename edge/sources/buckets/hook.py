"""What is done with a notification that a server sends here: journal it, or set it aside."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable
from typing import Final

from edge.cloudevents import json_text
from edge.contracts import Intake
from edge.errors import Rejected
from edge.event import Event, WireEvent
from edge.frame import is_text
from edge.sources.buckets.records import object_of, read
from edge.sources.buckets.rule import BucketRule

log = logging.getLogger(__name__)

MALFORMED: Final = "io.edge.notification.malformed.v1"
"""A notification that nobody could read. ``data`` is its body, ``reason`` and ``why`` say more."""
ORIGIN: Final = "/hooks/s3"
LARGE: Final = 64 * 1024
"""A body of more bytes is read beside the loop: a thousand records take 50 ms."""
KEPT: Final = 1024
"""Bytes that are kept of a text that nobody could read; ``bytes`` says how many there were. No
more, and nothing of what is no text: a camera may have sent its raw picture here."""


class S3Hook:
    """Takes notifications of object stores, in any form that ``records`` knows.

    Args:
        intake: the bus.
        buckets: what is wanted of a bucket; None: nothing, it is none of ours.
        tokens: what callers may show; none: whoever may call the web server may call here.

    """

    def __init__(
        self,
        intake: Intake,
        buckets: Callable[[str], BucketRule | None],
        *,
        tokens: frozenset[str] = frozenset(),
    ) -> None:
        self._intake, self._buckets = intake, buckets
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
            events = [event for event in found if self._wants(event)]
            if events:
                await self._intake.accept(events)
        except Rejected as error:
            return await self._set_aside(body, error)
        return len(events)

    def _wants(self, event: WireEvent) -> bool:
        what = object_of(event)
        rule = self._buckets(what.bucket)
        return rule is not None and rule.wants(event, what)

    async def _set_aside(self, body: bytes, error: Rejected) -> int:
        event = _malformed(body, error)
        log.warning(
            "a notification could not be read: %s",
            error,
            extra={"event": event.id, "hint": error.hint},
        )
        try:
            await self._intake.accept([event])
        except Rejected as refused:
            # over bus.max_event: a sender that repeats it does not make it smaller
            log.error("a notification that could not be read is lost: %s", refused)  # noqa: TRY400
            return 0
        return 1


def _malformed(body: bytes, error: Rejected) -> WireEvent:
    """Return the event for a body; the same body is the same event."""
    kept = body[:KEPT] if is_text(body[:KEPT]) else None
    return Event(
        id=hashlib.sha256(body).hexdigest(),
        source=ORIGIN,
        type=MALFORMED,
        datacontenttype="application/json"
        if kept and json_text.is_value(kept)
        else "application/octet-stream",
        data=kept,
        extensions={"reason": error.reason, "why": str(error), "bytes": len(body)},
    )

"""A notification that nobody can read becomes an event all the same, and so a dead letter.

Whoever sent it would send it for ever, or has forgotten it: either way it is set aside once, and
holds up nothing. It is on disk before its sender is answered or told that it is done with.
"""

from __future__ import annotations

import hashlib
import logging
from typing import Final

from edge.cloudevents import json_text
from edge.contracts import Intake
from edge.errors import Rejected
from edge.event import Event, WireEvent
from edge.frame import is_text

log = logging.getLogger(__name__)

MALFORMED: Final = "io.edge.notification.malformed.v1"
"""A notification that nobody could read. ``data`` is its body, ``reason`` and ``why`` say more."""
KEPT: Final = 1024
"""Bytes that are kept of a text that nobody could read; ``bytes`` says how many there were. No
more, and nothing of what is no text: a camera may have sent its raw picture here."""


async def set_aside(intake: Intake, source: str, body: bytes, error: Rejected) -> int:
    """Have the event for a notification on disk; return how many events that made: one, or none.

    None: it is over ``bus.max_event``, and who repeats it does not make it smaller.

    Args:
        intake: the bus.
        source: what the event names as its source: the hook, or the bucket's source.
        body: the notification.
        error: why nobody can read it.

    Raises:
        TryLater: there is no room for it now.

    """
    event = malformed_event(source, body, error)
    log.warning(
        "a notification could not be read: %s",
        error,
        extra={"event": event.id, "hint": error.hint},
    )
    try:
        await intake.accept([event])
    except Rejected as refused:
        log.error("a notification that could not be read is lost: %s", refused)  # noqa: TRY400
        return 0
    return 1


def malformed_event(source: str, body: bytes, error: Rejected) -> WireEvent:
    """Return the event for a body; the same body from the same source is the same event."""
    kept = body[:KEPT] if is_text(body[:KEPT]) else None
    return Event(
        id=hashlib.sha256(body).hexdigest(),
        source=source,
        type=MALFORMED,
        datacontenttype="application/json"
        if kept and json_text.is_value(kept)
        else "application/octet-stream",
        data=kept,
        extensions={"reason": error.reason, "why": str(error), "bytes": len(body)},
    )

"""Pictures: the redacted picture that an event of the gate names, from wherever it is now."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from edge.contracts import Store
from edge.errors import Rejected
from edge.event import WireEvent
from edge.parcel import ReadBack


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureFacts:
    """What the gate's message says of its picture."""

    #: name in the outbox and in the store
    key: str
    #: hex digest of its bytes
    sha256: str


def facts_of(event: WireEvent) -> PictureFacts:
    """Read ``data.picture`` of an event that the gate made.

    Raises:
        Rejected: ``bad_data``; there is no such thing in it.

    """
    try:
        picture = json.loads(event.data or b"")["picture"]
        key, sha256 = picture["key"], picture["sha256"]
    except (ValueError, TypeError, LookupError, RecursionError):
        key = sha256 = None
    if not (isinstance(key, str) and key and isinstance(sha256, str)):
        raise Rejected(
            "the event names no picture: expected JSON with picture.key and picture.sha256",
            hint="only events that this box made of its own pictures have them",
            reason="bad_data",
        )
    return PictureFacts(key=key, sha256=sha256)


class Pictures:
    """Answers with the redacted picture of an event: from the outbox, else from the store.

    It is the very picture that the gate let through: its digest is compared, since the store is
    open to others, and an event may have been sent by anybody who may send events.

    Args:
        waiting: ``Outbox.picture``: a parcel's picture while it waits for the store.
        store: the door.

    """

    def __init__(self, waiting: Callable[[str], Awaitable[bytes | None]], store: Store) -> None:
        self._waiting = waiting
        self._store = store

    async def __call__(self, event: WireEvent) -> bytes:
        """Return the encoded picture.

        Raises:
            Rejected: ``bad_data``, ``gone`` (nobody has it any more), ``too_large``, ``bad_key``,
                or ``other_content`` (it is not the picture that the gate let through).
            PartFailed: the store is shut; TryLater: so is the outbox.

        """
        return await self._picture(facts_of(event))

    async def read_back(
        self, facts: PictureFacts, content_type: str, taken_at: datetime
    ) -> ReadBack:
        """Return the picture that the gate let through under a name, with that digest.

        Raises:
            Rejected: as a call does, but ``bad_data``. PartFailed, TryLater: as a call does.

        """
        body = await self._picture(facts)
        return ReadBack(body=body, content_type=content_type, taken_at=taken_at)

    async def _picture(self, facts: PictureFacts) -> bytes:
        body = await self._waiting(facts.key)
        if body is None:
            body = await self._store.get(facts.key)
        if hashlib.sha256(body).hexdigest() != facts.sha256:
            raise Rejected(
                f"{facts.key} is not the picture that was let through: its digest is another",
                hint="was it changed in the store? Then nobody can say that it is redacted",
                reason="other_content",
            )
        return body

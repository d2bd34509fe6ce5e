"""Ceph RGW's pubsub zone in pull mode: events are fetched, and acknowledged once they are safe.

The gateway keeps an event until it is acknowledged (7 days), so nothing is lost by a gap. It is a
change feed: of a put and a delete in quick succession only the delete is seen, and an event says
neither size nor eTag. Truth values of pages are text; a subscription that is not there is a 400.

Late is not lost. Measured on 16.2.15: of 20 objects put at once 2 to 20 come within half a second,
the others with the next change in the bucket, or 15 to 20 s later, when the zone's sync looks by
itself: after its start nearly always, later one time in eight, whether anybody acknowledges or not.
Acknowledging a page, eight at once, before the next one is asked for loses nothing: a marker is a
name, no count (200 of 200 events in pages of 10, three times).
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from edge.errors import PartFailed
from edge.sources.buckets.link import Answer, Ask, BucketLink

PAGE: Final = 100
"""Events of one page."""
MOST_PAGE: Final = 8 * 2**20
"""Bytes of one page: a key has 1024 bytes, metadata 8 KiB."""
BUSY_SECONDS: Final = 0.05
"""Pause after a round that brought events."""
IDLE_SECONDS: Final = 5.0
"""The longest pause between two rounds; it doubles while nothing comes."""
ACKS: Final = 8
"""Acknowledgements on their way at once."""
# halves of characters have no bytes to send
_ID: Final = re.compile(r"[^\ud800-\udfff]{1,256}", re.DOTALL)
_MARKER: Final = re.compile(r"[^\ud800-\udfff]{1,2048}", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """One event of a page."""

    #: by which it is acknowledged
    id: str
    #: a notification that holds this event alone, as ``records.read`` takes it
    body: bytes
    #: ``mtime`` of the object; empty: it was not said
    modified: str = ""


class RgwPull:
    """Pulls from one subscription.

    Args:
        link: the pubsub zone's own gateway.
        subscription: its name.
        silence: seconds without a byte after which the gateway is lost.

    """

    def __init__(self, link: BucketLink, subscription: str, *, silence: float = 30.0) -> None:
        self.where = f"{link.where}/subscriptions/{subscription}"
        self._link, self._silence = link, silence
        self._path = f"/subscriptions/{subscription}"
        #: events whose acknowledgement failed; they come again and are acknowledged then
        self.unacknowledged = 0

    async def run(
        self, take: Callable[[Sequence[Pulled]], Awaitable[None]], up: Callable[[], None]
    ) -> None:
        """Pull for ever.

        Args:
            take: is given a page; it is acknowledged when this returns.
            up: called after each answer: the gateway is there.

        Raises:
            PartFailed: ``denied``, ``no_subscription``, ``refused``, ``malformed``, and what
                ``BucketLink`` raises. What was not acknowledged comes again.

        """
        pause = BUSY_SECONDS
        while True:
            busy = await self._round(take, up)
            pause = BUSY_SECONDS if busy else min(2 * pause, IDLE_SECONDS)
            await asyncio.sleep(pause)

    async def _round(
        self, take: Callable[[Sequence[Pulled]], Awaitable[None]], up: Callable[[], None]
    ) -> bool:
        """Go through all pages; tell whether at least one event was dealt with for good."""
        marker, done = "", 0
        while True:
            pulled, following = await self._page(marker)
            up()
            if pulled:
                await take(pulled)
                done += await self._acknowledge(pulled)
            # a marker that stays where it is would go round for ever
            if not following or following == marker:
                return done > 0
            marker = following

    async def _page(self, marker: str) -> tuple[list[Pulled], str]:
        query = [("events", ""), ("max-entries", str(PAGE))]
        query += [("marker", marker)] if marker else []
        ask = Ask(path=self._path, query=query, version=2, silence=self._silence)
        async with self._link.ask(ask) as answer:
            if answer.status != 200:
                raise await self._refusal(answer)
            body = await answer.read(MOST_PAGE)
        try:
            return page_of(body)
        except ValueError as error:
            raise PartFailed(
                f"{self.where}: expected a page of events in JSON: {error}",
                hint="is pull_endpoint the pubsub zone's gateway, not the store's?",
                reason="malformed",
            ) from error

    async def _acknowledge(self, pulled: Sequence[Pulled]) -> int:
        """Acknowledge what is safe by now; return how many the gateway took."""
        taken = 0
        for start in range(0, len(pulled), ACKS):
            async with asyncio.TaskGroup() as group:
                acks = [
                    group.create_task(self._acknowledge_one(one.id), name="acknowledge")
                    for one in pulled[start : start + ACKS]
                ]
            taken += sum(ack.result() for ack in acks)
        self.unacknowledged += len(pulled) - taken
        return taken

    async def _acknowledge_one(self, event_id: str) -> bool:
        query = [("ack", ""), ("event-id", event_id)]
        ask = Ask(method="POST", path=self._path, query=query, version=2, silence=self._silence)
        try:
            async with self._link.ask(ask) as answer:
                await answer.read(MOST_PAGE)
                return 200 <= answer.status < 300
        except PartFailed:
            return False  # the next page tells what is wrong, and brings it again

    async def _refusal(self, answer: Answer) -> PartFailed:
        reason, hint = {
            400: ("no_subscription", "make the subscription, or correct its name"),
            403: ("denied", "are access_key and secret_key right, and this box's clock?"),
            404: ("no_subscription", "is pull_endpoint the gateway of the pubsub zone?"),
        }.get(answer.status, ("refused", "it is tried again; look at the gateway's log"))
        code = await answer.code()
        error = PartFailed(
            f"{self.where}: HTTP {answer.status} {code}".rstrip(), hint=hint, reason=reason
        )
        error.status = answer.status
        return error


def page_of(body: bytes) -> tuple[list[Pulled], str]:
    """Return the events of a page, and the marker of the next one (empty: this is the last).

    Raises:
        ValueError: it is no page: what was expected.

    """
    try:
        page = json.loads(body)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    if not isinstance(page, dict):
        raise ValueError("expected an object")  # noqa: TRY004 (it is the text that is wrong)
    name = "Records" if "Records" in page else "events"
    events = page.get(name)
    if not isinstance(events, list):
        raise ValueError("expected a list of events or Records")  # noqa: TRY004
    marker = page.get("next_marker")
    following = marker if isinstance(marker, str) and _MARKER.fullmatch(marker) else ""
    more = page.get("is_truncated") in ("true", True)
    pulled = [_pulled(name, event) for event in events]
    return [one for one in pulled if one.id], following if more else ""


def _pulled(name: str, event: Any) -> Pulled:
    event = event if isinstance(event, dict) else {}
    event_id = event.get("eventId" if name == "Records" else "id")
    modified: Any = event.get("info")
    for part in ("attrs", "mtime"):
        modified = modified.get(part) if isinstance(modified, dict) else None
    return Pulled(
        id=event_id if isinstance(event_id, str) and _ID.fullmatch(event_id) else "",
        body=json.dumps({name: [event]}).encode(),
        modified=modified if isinstance(modified, str) else "",
    )

"""Removals that nobody told of: what pictures were made of, compared with what a listing has.

Page by page, as the sweep goes: keys of which something was made, and which the listing has not. At
the end of a pass each is looked up by itself, and what the server says it has not is brought as an
``ObjectRemoved`` event. So a listing that fails, a bucket that is gone, a server that does not
answer and a key that came meanwhile erase nothing.

A bucket that was lost, or emptied by mistake, looks like one whose pictures were all removed. Where
more than half of the originals (and more than a few) are gone at once, nothing is brought for a
day, and the source says so: who did not mean it has that long to bring them back, or to set
``when_removed`` to keep. A restart begins that day anew.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from edge.config.sources import BucketConfig
from edge.errors import PartFailed
from edge.event import WireEvent
from edge.frame import ObjectRef
from edge.sources.buckets.records import read
from edge.sources.buckets.rule import BucketRule

log = logging.getLogger(__name__)

Made = Callable[[str, "str | None", int], Awaitable[Sequence[tuple[str, str]]]]
"""Returns keys of which something was made, in their order, each with a mark that names what: after
a key, up to another (None: to the end), as many at most."""
Find = Callable[[ObjectRef], Awaitable["ObjectRef | None"]]
"""Returns what is there under a key now; None: the server says that there is nothing."""

AT_ONCE: Final = 500
"""Keys that are read from the spool at once."""
MOST: Final = 10_000
"""Removals that one pass brings; the next one brings the others."""
BATCH: Final = 100
FEW: Final = 50
"""So many originals may be gone at once, whatever their share."""
HOLD_SECONDS: Final = 86_400.0


class Removals:
    """Finds what was removed from one bucket, a pass of the sweep at a time.

    Args:
        config: the bucket.
        source: what the events name as theirs.
        rule: which keys are meant; others never count as removed.
        made: of what something was made.
        find: looks one up.
        take: hands events over, and waits until they are safe.
        clock: monotonic seconds.

    """

    def __init__(
        self,
        config: BucketConfig,
        source: str,
        rule: BucketRule,
        *,
        made: Made,
        find: Find,
        take: Callable[[Sequence[WireEvent]], Awaitable[None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config, self._source, self._rule = config, source, rule
        self._made, self._find, self._take, self._clock = made, find, take, clock
        #: of the pass under way: what is missing, with its mark, and how many were compared
        self._missing: dict[str, str] = {}
        self._missed = self._compared = 0
        self._held_since: float | None = None
        #: why nothing is brought; None: it is
        self.held: PartFailed | None = None
        self.found = 0

    def begin(self) -> None:
        """Begin a pass; one that was broken off and goes on does not begin again."""
        self._missing.clear()
        self._missed = self._compared = 0

    async def compare(self, after: str, until: str | None, listed: Collection[str]) -> None:
        """Note what is missing between two keys.

        Args:
            after: keys up to and with this one were compared before.
            until: the last key that was listed; None: the listing is at its end.
            listed: the keys that the listing has in between.

        """
        while True:
            made = await self._made(after, until, AT_ONCE)
            for key, mark in made:
                if not self._rule.holds(key):
                    continue
                self._compared += 1
                if key not in listed:
                    self._missed += 1
                    if len(self._missing) < MOST:
                        self._missing[key] = mark
            if len(made) < AT_ONCE:
                return
            after = made[-1][0]

    async def end(self) -> None:
        """Bring what is missing, and is found to be gone.

        Raises:
            PartFailed: the server cannot say so now.

        """
        if self._hold():
            return
        batch: list[WireEvent] = []
        for key, mark in self._missing.items():
            if await self._find(ObjectRef(bucket=self._config.bucket, key=key)) is None:
                batch.append(self._event(key, mark))
            if len(batch) == BATCH:
                await self._bring(batch)
                batch = []
        await self._bring(batch)
        self.begin()

    async def _bring(self, batch: Sequence[WireEvent]) -> None:
        if batch:
            await self._take(batch)
            self.found += len(batch)

    def _hold(self) -> bool:
        if self._missed <= FEW or 2 * self._missed <= self._compared:
            self._held_since = self.held = None
            return False
        now = self._clock()
        if self._held_since is None:
            self._held_since = now
        left = self._held_since + HOLD_SECONDS - now
        if left <= 0:
            self.held = None
            return False
        before, self.held = (
            self.held,
            PartFailed(
                f"{self._missed} of {self._compared} originals are gone from bucket "
                f"{self._config.bucket} at once; what was made of them stays for "
                f"{left / 3600:.0f} h",
                hint="was the bucket lost or emptied by mistake? Bring the originals back, or set "
                'when_removed = "keep"; else it is erased then',
                reason="many_removed",
            ),
        )
        if before is None:
            log.warning("%s: %s. %s", self._source, self.held, self.held.hint)
        return True

    def _event(self, key: str, mark: str) -> WireEvent:
        record = {
            "eventVersion": "2.2",
            "eventSource": "edge:sweep",
            "awsRegion": self._config.region,
            "eventTime": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "eventName": "ObjectRemoved:Delete",
            "s3": {"bucket": {"name": self._config.bucket}, "object": {"key": key}},
        }
        (event,) = read(json.dumps({"Records": [record]}).encode(), keys="plain")
        # found again before it was dealt with, it is the same
        name = hashlib.blake2b(f"{self._config.bucket}\0{key}\0{mark}".encode(), digest_size=16)
        return replace(event, source=self._source, id=f"removed-{name.hexdigest()}")

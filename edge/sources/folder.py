"""Picture files in a directory: each redacted once when it is complete, or replayed as a stream."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime

from edge.config.sources import FolderConfig
from edge.contracts import Picture, SourceStatus
from edge.errors import PartFailed, Rejected
from edge.event import FRAME_TAKEN, PICTURE_ARRIVED, Event, Outcome
from edge.frame import Encoded
from edge.ops.metrics import Metrics
from edge.sources.folder_files import Found, Ledger, WatchedFolder, event_id
from edge.sources.pace import Pace, Rate

log = logging.getLogger(__name__)

_UNSETTLED_MAX = 16
_UNSETTLED_BYTES = 256 * 2**20
"""As many pictures may be on their way at once; one always may."""
_LOOK_MAX = 1000
"""As many files are taken from one look at the directory."""
_NAMED = 5
"""As many refused files are named in the status."""


class Folder:
    """A directory as a source.

    Mode ``drop``: each complete file is an event. Its id is a function of its path, size, time and
    content, and ``known`` asks whether that was done before: after ``kill -9`` nothing is done
    twice, and nothing is forgotten, since a file is its own journal. A file that was refused stays
    where it is, and is tried again when it changes.

    Mode ``replay``: the files as a live stream in the order of their names.

    Args:
        name: the source's name.
        config: its section.
        metrics: where pictures are counted.
        origin: ``/{site}/{node}``, in front of the name in an event's ``source``.
        known: tells whether the picture of an event id was ever made safe.

    """

    def __init__(
        self,
        name: str,
        config: FolderConfig,
        *,
        metrics: Metrics,
        origin: str,
        known: Callable[[str], Awaitable[bool]],
    ) -> None:
        self.name = name
        self.live = config.mode == "replay"
        self._config, self._metrics, self._known = config, metrics, known
        self._source = f"{origin.rstrip('/')}/{name}"
        self._folder = WatchedFolder(config.path)
        self._closed, self._settled = asyncio.Event(), asyncio.Event()
        self._pace, self._rate = Pace(config.fps, self._closed), Rate()
        self._ledger = Ledger(config.settle)
        self._unsettled: dict[str, Found] = {}
        self._refused: OrderedDict[str, tuple[bytes, str]] = OrderedDict()
        self._counts: Counter[str] = Counter()
        self._state = "connecting"
        self._last: datetime | None = None

    async def events(self) -> AsyncIterator[Event[Picture]]:
        """Yield pictures until closed, or in mode ``replay`` until the last.

        Raises:
            PartFailed: the directory is missing, cannot be read, or has nothing to replay.

        """
        pictures = self._replay() if self.live else self._drop()
        try:
            async for event in pictures:
                yield event
            self._state = "finished"
        except PartFailed:
            self._state = "failed"
            raise
        finally:
            await pictures.aclose()
            self._metrics.source_up.labels(self.name).set(0)

    async def settle(self, event: Event[Picture], outcome: Outcome, reason: str = "") -> None:
        file = self._unsettled.pop(event.id, None)
        self._settled.set()
        if file is None:
            return
        if outcome in {Outcome.DONE, Outcome.DUPLICATE}:
            await self._finish(file)
        elif outcome is Outcome.REJECTED:
            self._refuse(file, reason or "rejected")
        else:  # there was no room for it, and a file is not a frame that another one makes up for
            self._ledger.again(file)

    async def close(self) -> None:
        self._closed.set()
        self._settled.set()

    def status(self) -> SourceStatus:
        named = ", ".join(f"{name} ({why})" for name, (_, why) in self._refused.items())
        counted = ("offered", "known", "refused", "deleted")
        return SourceStatus(
            name=self.name,
            kind="folder",
            state=self._state,
            reason=f"refused: {named}" if named else "",
            hint="they stay where they are; replace or remove them" if named else "",
            where=str(self._folder.root),
            last_picture_at=self._last,
            counts={
                **{name: self._counts[name] for name in counted},
                "unsettled": len(self._unsettled),
                "unreadable": self._folder.unreadable,
                "skipped": self._pace.skipped,
            },
            fps=self._rate.at(time.monotonic()),
        )

    async def _drop(self) -> AsyncGenerator[Event[Picture], None]:
        while not self._closed.is_set():
            started = time.monotonic()
            files = await asyncio.to_thread(self._sort, started)
            self._state = "streaming"
            self._metrics.source_up.labels(self.name).set(1)
            for file in files:
                await self._wait_for_room(file.size)
                if self._closed.is_set():
                    return
                event = await self._take(file)
                if event:
                    yield event
            if len(files) < _LOOK_MAX:
                await self._rest(time.monotonic() - started)

    def _sort(self, now: float) -> list[Found]:
        return self._ledger.sort(self._folder.look(), now, _LOOK_MAX)

    async def _rest(self, took: float) -> None:
        """Wait between two looks: a share of ``settle``, and longer where a look takes long."""
        for name in [
            name for name, (state, _) in self._refused.items() if state not in self._ledger
        ]:
            del self._refused[name]
        pause = max(min(self._config.settle / 3, 1.0), 3 * took, 0.02)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._closed.wait()

    async def _wait_for_room(self, size: int) -> None:
        while self._unsettled and not self._closed.is_set():
            there = sum(file.size for file in self._unsettled.values())
            if len(self._unsettled) < _UNSETTLED_MAX and there + size <= _UNSETTLED_BYTES:
                return
            self._settled.clear()
            await self._settled.wait()

    async def _take(self, file: Found) -> Event[Picture] | None:
        """Read a complete file; None where it is refused, was done before, or is changing."""
        try:
            body = await asyncio.to_thread(self._folder.read, file, self._config.max_bytes)
        except Rejected as error:
            self._refuse(file, error.reason)
            self._metrics.pictures_rejected.labels(self.name, error.reason).inc()
            return None
        if body is None:
            return None
        name = event_id(self.name, file, body)
        self._ledger.handled(file)
        if await self._known(name):
            self._counts["known"] += 1
            await self._finish(file)
            return None
        self._unsettled[name] = file
        return self._event(PICTURE_ARRIVED, name, file, body, file.taken_at)

    async def _finish(self, file: Found) -> None:
        """Let go of a file whose redacted picture is safe."""
        self._refused.pop(file.shown, None)
        if self._config.after == "delete":
            self._counts["deleted"] += await asyncio.to_thread(self._folder.remove, file)

    def _refuse(self, file: Found, why: str) -> None:
        """Leave a file where it is and remember it until it changes."""
        self._ledger.handled(file)
        self._counts["refused"] += 1
        self._refused[file.shown] = (file.state, why)
        self._refused.move_to_end(file.shown)
        while len(self._refused) > _NAMED:
            self._refused.popitem(last=False)
        log.warning("%s: refused %s: %s", self.name, file.shown, why)

    async def _replay(self) -> AsyncGenerator[Event[Picture], None]:
        files = await asyncio.to_thread(self._in_order)
        while (index := await self._pace.next()) is not None:
            self._state = "streaming"
            self._metrics.source_up.labels(self.name).set(1)
            if index >= len(files) and not self._config.loop:
                return
            file = files[index % len(files)]
            try:
                body = await asyncio.to_thread(self._folder.read, file, self._config.max_bytes)
            except Rejected as error:
                self._refuse(file, error.reason)
                body = None
            if body is not None:
                now = datetime.now(UTC)
                name = f"{self.name}-{now:%Y%m%dT%H%M%S.%fZ}"
                yield self._event(FRAME_TAKEN, name, file, body, now)

    def _in_order(self) -> list[Found]:
        files = sorted(self._folder.look(), key=lambda file: file.path)
        if not files:
            raise PartFailed(
                f"there is nothing to replay in {self._folder.root}",
                hint="put pictures there",
                reason="folder_empty",
            )
        return files

    def _event(
        self, kind: str, name: str, file: Found, body: bytes, taken_at: datetime
    ) -> Event[Picture]:
        self._rate.count(time.monotonic())
        self._last = taken_at
        self._counts["offered"] += 1
        self._metrics.pictures_taken.labels(self.name).inc()
        return Event(
            id=name,
            source=self._source,
            type=kind,
            subject=file.shown,
            time=taken_at.isoformat(),
            data=Encoded(
                body=body,
                name=file.shown.rsplit("/", 1)[-1],
                taken_at=taken_at,
                source=self.name,
                subject=file.shown,
            ),
        )

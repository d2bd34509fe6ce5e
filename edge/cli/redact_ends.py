"""Where each picture of ``edge redact`` ends: a file, a frame of a video, or a line why not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from edge.cli.redact_report import Report, Task
from edge.cli.redact_video import VideoDoor, output_failed
from edge.contracts import Note, Picture
from edge.event import Event, Outcome
from edge.parcel import Parcel

UNREADABLE = ("not_a_picture", "unsupported_format", "too_many_pixels", "too_large", "damaged")
"""Codes of pictures that could not be read; every other reason withheld a readable one."""


class Ends:
    """Keeps ``contracts.Keeper`` as the outbox does, and settles as a source does.

    Args:
        report: told of each end.
        ended: called for each, for the progress bar.

    """

    def __init__(self, report: Report, ended: Callable[[], None]) -> None:
        self._report = report
        self._ended = ended
        self._tasks: dict[str, Task] = {}
        self._none_left = asyncio.Event()
        self._none_left.set()
        #: the video being written; its frames come through ``put`` like every picture
        self.video: VideoDoor | None = None

    def expect(self, event: Event[Picture], task: Task) -> None:
        """Say what an event is about before it is handed over."""
        self._tasks[event.id] = task
        self._none_left.clear()

    async def all_ended(self) -> None:
        """Wait until everything that was expected has ended."""
        await self._none_left.wait()

    async def put(self, parcel: Parcel, also: Note | None = None) -> bool:  # noqa: ARG002 (no bus)
        """Write a redacted picture where it belongs.

        Raises:
            Fatal: it could not be written (``reason`` ``output``); the run ends.

        """
        task = self._tasks[parcel.event_id]
        await asyncio.to_thread(self._write, task, parcel)
        self._report.redacted(task, parcel)
        return True

    async def knows(self, event_id: str) -> bool:  # noqa: ARG002 (the contract's)
        """Return False: a run remembers nothing of the last one."""
        return False

    async def settle(self, event: Event[Picture], outcome: Outcome, reason: str = "") -> None:
        """Count an end; a frame that has no output becomes a black one, so that time is kept."""
        task = self._tasks.pop(event.id)
        if outcome is not Outcome.DONE:
            self.refuse(task, reason or outcome.value)
            if self.video is not None and task.frame is not None:
                await asyncio.to_thread(self.video.put, task.frame, None)
        self._ended()
        if not self._tasks:
            self._none_left.set()

    def refuse(self, task: Task, reason: str) -> None:
        """Report an input that has no output, and why (``code: words``)."""
        withheld = reason.partition(":")[0] not in UNREADABLE
        self._report.refused(task, reason, withheld=withheld)

    def _write(self, task: Task, parcel: Parcel) -> None:
        if self.video is not None and task.frame is not None:
            self.video.put(task.frame, parcel)
            return
        part = task.output.with_name(f".{task.output.name}.part")
        try:
            task.output.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(parcel.body)
            part.replace(task.output)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise output_failed(f"{task.output} could not be written: {error.strerror}") from error

"""The progress bar of ``edge redact``: on a terminal only, on standard error."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from edge.cli.redact_plan import Planned
from edge.cli.redact_video import frame_count


class Progress:
    """Counts pictures and frames; draws nothing where ``show`` is False."""

    def __init__(self, tasks: Sequence[Planned], *, show: bool) -> None:
        columns = (
            TextColumn("redacting"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        self._bar = RichProgress(*columns, console=Console(stderr=True), disable=not show)
        total: int | None = None
        if show:
            counts = [frame_count(task.input) if task.video else 1 for task in tasks]
            total = None if None in counts else sum(count or 0 for count in counts)
        self._task = self._bar.add_task("redacting", total=total)

    def step(self) -> None:
        """Count one picture or frame that has ended."""
        self._bar.advance(self._task)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

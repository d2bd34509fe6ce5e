"""The report of ``edge redact``: one JSON object a picture or frame, and the sums."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from edge.parcel import Parcel


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One picture or frame to redact, and where its output goes."""

    input: Path
    output: Path
    #: index from 0 of a video's frame; None for a picture
    frame: int | None = None


@dataclass(slots=True)
class Report:
    """Writes a JSON line for each task as it ends, and counts."""

    file: TextIO | None = None
    pictures: int = 0
    frames: int = 0
    people: int = 0
    withheld: int = 0
    rejected: int = 0
    reasons: dict[str, int] = field(default_factory=dict)

    def redacted(self, task: Task, parcel: Parcel) -> None:
        """Count and write what was covered in a picture."""
        data: Mapping[str, Any] = parcel.message["data"]
        picture = data["picture"]
        self._count(task)
        self.people += len(data["people"])
        self._write(
            task,
            output=str(task.output),
            size=[picture["width"], picture["height"]],
            people=data["people"],
            covered=data["covered"],
            method=data["method"],
            engine=data["engine"]["name"],
            model=data["engine"]["model"],
            withheld=None,
        )

    def refused(self, task: Task, reason: str, *, withheld: bool) -> None:
        """Count and write why a picture has no output."""
        self._count(task)
        if withheld:
            self.withheld += 1
        else:
            self.rejected += 1
        code = reason.partition(":")[0]
        self.reasons[code] = self.reasons.get(code, 0) + 1
        self._write(
            task,
            output=None,
            size=None,
            people=[],
            covered=[],
            method=None,
            engine=None,
            model=None,
            withheld=reason,
        )

    def sums(self) -> dict[str, Any]:
        """Return the totals, JSON values only."""
        return {
            "pictures": self.pictures,
            "frames": self.frames,
            "people": self.people,
            "withheld": self.withheld,
            "rejected": self.rejected,
            "reasons": self.reasons,
        }

    def _count(self, task: Task) -> None:
        if task.frame is None:
            self.pictures += 1
        else:
            self.frames += 1

    def _write(self, task: Task, **facts: Any) -> None:
        if self.file is None:
            return
        where: dict[str, Any] = {"input": str(task.input)}
        if task.frame is not None:
            where["frame"] = task.frame
        self.file.write(json.dumps({**where, **facts}, ensure_ascii=False) + "\n")

"""What a measurement is, and how all of them are shown."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure.

    ``kept`` says whether the goal is met; None where there is no goal, or nothing was measured.
    """

    #: its letter
    part: str
    what: str
    #: None where it could not be measured; ``note`` says why
    value: float | None
    unit: str
    #: what it is compared with, measured in the same run
    against: str = ""
    goal: str = ""
    kept: bool | None = None
    note: str = ""


class Missing(Exception):
    """Something that a measurement needs is not on this machine."""


def middle(values: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def at_least(value: float, goal: float) -> tuple[str, bool]:
    return f">= {goal:g}", value >= goal


def at_most(value: float, goal: float) -> tuple[str, bool]:
    return f"<= {goal:g}", value <= goal


def table(rows: Sequence[Row]) -> str:
    """Write the rows as text in columns, the notes below."""
    head = ("", "what", "value", "against", "goal", "")
    lines = [head]
    for row in rows:
        value = "-" if row.value is None else f"{row.value:.3g} {row.unit}".strip()
        mark = {True: "kept", False: "NOT KEPT", None: ""}[row.kept]
        lines.append((row.part, row.what, value, row.against, row.goal, mark))
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    text = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    text.insert(1, "-" * max(map(len, text)))
    notes = dict.fromkeys(f"{row.part}: {row.note}" for row in rows if row.note)
    return "\n".join([*text, "", *notes])


def write(rows: Sequence[Row], machine: dict[str, object], path: Path) -> None:
    """Write everything as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    body = {"machine": machine, "rows": [asdict(row) for row in rows]}
    path.write_text(json.dumps(body, indent=2) + "\n")

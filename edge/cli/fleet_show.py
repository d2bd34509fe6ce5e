"""How a fleet is shown: a table for people, a JSON object a box for programs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Final

from rich.table import Table
from rich.text import Text

from edge.cli.fleet_boxes import Box
from edge.cli.fleet_read import plain

HEAD: Final = (
    "SITE", "NODE", "STATE", "SINCE", "VERSION", "MODEL", "WAITING", "OLDEST", "SOURCES", "REASON",
)  # fmt: skip
_RIGHT: Final = frozenset({"SINCE", "WAITING", "OLDEST", "SOURCES"})
_STYLES: Final = {
    "online": "green",
    "degraded": "yellow",
    "failed": "red",
    "offline": "red",
    "stale": "red",
    "stopped": "dim",
    "unknown": "yellow",
}
_UNITS: Final = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def line(box: Box) -> str:
    """Return a box as one line of JSON."""
    return json.dumps(asdict(box) | {"topic": plain(box.topic)}, ensure_ascii=False)


def ago(seconds: float | None) -> str:
    """Return a length of time in its greatest unit: ``3 min``."""
    if seconds is None:
        return ""
    name, unit = next((one for one in _UNITS if seconds >= one[1]), ("s", 1))
    return f"{seconds / unit:.0f} {name}"


def word(box: Box) -> str:
    """Return how a box is in one word: ``degraded`` and ``failed`` are online, and not well."""
    return box.health if box.state == "online" and box.health not in {"", "ok"} else box.state


def row(box: Box) -> tuple[str, ...]:
    """Return a box as cells below ``HEAD``."""
    return (
        box.site,
        box.node,
        word(box),
        ago(box.age),
        box.version,
        box.model,
        str(box.waiting),
        ago(box.oldest),
        f"{box.sources_up}/{box.sources}",
        " - ".join(filter(None, (box.reason, box.hint))),
    )


def rich_table(boxes: Sequence[Box], rows: int | None = None) -> Table:
    """Return boxes as a table for a terminal; of more than ``rows`` those that are not well."""
    shown = boxes
    if rows is not None and len(boxes) > rows:
        shown = sorted(boxes, key=lambda box: box.fine)[: max(1, rows)]
    table = Table(box=None, pad_edge=False, caption=summary(boxes), caption_justify="left")
    for name in HEAD:
        right = name in _RIGHT
        table.add_column(name, justify="right" if right else "left", no_wrap=name != "REASON")
    for box in shown:
        # Text: what a box says is no markup
        cells = [Text(cell) for cell in row(box)]
        cells[2].stylize(_STYLES.get(word(box), "yellow"))
        table.add_row(*cells)
    return table


def plain_table(boxes: Sequence[Box]) -> Iterator[str]:
    """Yield boxes as lines in columns, the head first; nothing for none."""
    rows = [HEAD, *map(row, boxes)] if boxes else []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for cells in rows:
        shown = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        yield "  ".join(shown).rstrip()


def summary(boxes: Sequence[Box]) -> str:
    """Return how many boxes there are, and how they are."""
    words = Counter(map(word, boxes))
    counts = ", ".join(f"{number} {state}" for state, number in words.most_common())
    return f"{len(boxes)} box{'' if len(boxes) == 1 else 'es'}" + (f": {counts}" if counts else "")
